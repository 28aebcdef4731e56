"""Replay: running the recorded past again, exactly or with something changed.

`faithful` runs recorded ticks again from a committed image and proves that each result equals its commit; `judging` is the
proof. `what_if` runs them alongside history with something changed. `recordings` puts a proven window into a file, without
the texts that people wrote, and verifies such files. `replay_call` has the call of the debug API. Everything works on
private copies: nothing is written and no effect is performed.
"""
