"""townctl: the command line of the town reconciler.

A call passes through these modules, in this order:

- `main` answers `--version` and `--help`, and leaves everything else to `command_line`, which parses it, runs the command and
  prints its answer. `commands` is the table of the commands; `usage` words the errors of the parser.
- `place` is what most commands ask: `stored_towns` answers for a directory or bucket, `api_towns` through `api` and `api_client`
  for a deployment; `away` answers for archived towns, in both ways. `context` is for commands that work on the files themselves.
  `wiring` makes the store and the clock, `agent_programs` the agents, `agent_checks` what keeps their program from working,
  `sandbox` what keeps them apart, `forges` the hosts and tokens of the forges, `provers` the ways to prove a merge. `arguments`
  reads files, JSON and times; `left_out` finds the town of a bead or agent that the command line does not name.
- One module for each command, or for a few that belong together: `towns` and `archiving` (town), `watch`, `setting_commands`
  (setting), `beads` and `acts` (bead, agent, convoy), `brake` (pause, start), `events` and `event_types` (event), `one_tick`
  (tick), `ticks` (dry-run, ticks), `loop` (run), `explain` and `explain_words` (explain), `mayor`, `town_lists` (mail, review,
  rig, escalation), `logs`, `replays` and `what_if_view` (replay), `backtests` (backtest), `shadow`, `recordings` (record, and
  replay of a file), `points`, `restore_points` (restore, flush, retention), `mending` (mend), `bucket_rules` and `gathering`
  (bucket), `export_import` (export, import), `litestream_commands` (litestream), `secret_commands`, `copied_secrets`,
  `deploy_key_commands`, `webhook_commands` and `token_keys` (secret), `town_token` (token), `serve`, `doctor`; the commands
  `demo` and `ui` are in `infra.demo` and `infra.ui`.
- `own_clocks` chooses the clock of a town, and the towns of a loop; `own_runs` runs a town apart from the others of a loop.
- Modules that serve single commands: `litestream_check` for restore, `history_checks`, `stack`, `stack_doctor`, `stack_checks`
  and `platform_tokens` for doctor, `other_code` for backtest and shadow, `notices` for the channels to people, `stack_secrets`
  for the tokens of a deployed stack, `paging` for lists.
- `output` has the answer of a command and its exit codes, `tables` lays out tables, `people` has times, states and reasons in
  words and colours, `summaries` and `wording` the one-line texts, `status_view` the status of a town; `live` prints what a loop
  does.
"""
