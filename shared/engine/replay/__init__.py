"""Replay: the past again, exactly; and the past as other rules would have it.

`faithful` runs recorded ticks again from a committed image and proves that it is what happened. `what_if` runs them with
something changed, beside history. `explain` tells the life of one bead or agent. `self_check` runs a tick of production
again. All of them work on private copies: nothing is written, nobody outside is called.
"""
