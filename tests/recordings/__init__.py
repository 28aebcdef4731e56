"""Golden recordings: what towns did, replayed on every run of the tests. A changed rule shows here as a diff."""
