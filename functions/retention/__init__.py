"""Retention: the schedule calls it every hour, and it tidies the 24th part of the towns whose hour it is."""
