"""Recorded windows of many towns, run with other code than the code that made them: what it would have done otherwise."""
