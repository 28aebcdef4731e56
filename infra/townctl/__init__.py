"""`townctl`, the operator's command line: tables for people, `--json` for pipes."""
