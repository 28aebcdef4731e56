"""Replay: the past again, exactly; and the past as other rules would have it.

`faithful` runs recorded ticks again from a committed image and proves that it is what happened. `what_if` runs them with
something changed, beside history. `explain` tells the life of one bead or agent. `self_check` runs a tick of production
again. `recorder` puts a proven window into one file without what people wrote, `verifying` says whether such a file still
comes out as it was recorded. All of them work on private copies: nothing is written, nobody outside is called.
"""
