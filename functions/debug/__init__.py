"""The debug API: what a town is doing, what its next tick would do, what past ones did. It can only read."""
