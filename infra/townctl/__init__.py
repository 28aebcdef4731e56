"""townctl: the command line of the town reconciler.

`main` finds the command and shows its answer, `desk` is what every command is given, `wiring` puts a data directory,
a clock and a runtime together; the commands stand in `towns`, `posts`, `ticks`, `loop`, `doctor` and `demo`.
"""
