"""The phases of a tick. Read `tick.py` first: it calls them in order."""
