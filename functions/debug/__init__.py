"""The debug API: what a town is doing, what its next tick would do, what past ticks did. Read only."""
