"""Questions about a town that change nothing: its status, why something waits, its history, the next tick as a dry run."""
