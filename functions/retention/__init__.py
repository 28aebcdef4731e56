"""Retention: every hour the schedule calls it, and a twenty-fourth of the towns forgets what no restore point needs."""
