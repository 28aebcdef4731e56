"""Retention: called by the schedule every hour, it tidies the towns of that hour, about one in 24."""
