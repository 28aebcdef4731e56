"""Town images outside of ticks: their pages and digests, their first and restored forms, and what a run reads before a tick."""
