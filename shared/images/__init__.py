"""Town images outside of ticks: pages and digests, first and restored images, and what a run reads before its tick."""
