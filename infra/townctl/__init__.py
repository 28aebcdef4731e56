"""townctl: the command line of the town reconciler.

A call passes through these modules, in this order:

- `main` answers `--version` and `--help`, and leaves everything else to `command_line`, which parses it, runs the command and
  prints its answer. `commands` is the table of the commands; `usage` words the errors of the parser.
- `place` is what most commands ask: `stored_towns` answers for a directory or bucket, `api_towns` through `api` and
  `api_client` for a deployment. `context` is for commands that work on the files themselves. `wiring` makes the store and the
  clock, `agent_programs` the agents, `agent_checks` what keeps their program from working, `sandbox` what keeps them apart,
  `forges` the hosts and tokens of the forges, `provers` the ways to prove a merge. `arguments` reads files, JSON and times.
- One module for each command, or for a few that belong together:
  `towns` (town), `beads` (bead, agent, convoy), `events` (event), `one_tick` (tick), `ticks` (dry-run, ticks), `loop` (run),
  `explain`, `mayor`, `town_lists` (mail, review, rig, escalation), `logs`, `replays` (replay), `recordings` (record, and replay
  of a file), `points`, `restore_points` (restore, flush, retention), `export_import` (export, import), `litestream_commands`
  (litestream), `secret_commands`, `deploy_key_commands` and `token_keys` (secret), `town_token` (token), `serve`, `doctor`; the
  command `demo` is in `infra.demo`.
- Modules that serve single commands: `litestream_check` for restore, `stack_doctor` and `platform_tokens` for doctor,
  `stack_secrets` for the tokens of a deployed stack, `paging` for lists.
- `output` has the answer of a command with its tables and exit codes, `summaries` and `wording` the one-line texts,
  `status_view` the status of a town; `live` prints what a loop does.
"""
