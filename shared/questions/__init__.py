"""Questions about a town that change nothing: status, why something waits, its life as a story, the next tick as a dry run."""
