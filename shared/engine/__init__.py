"""The tick, phase by phase: the order of things and nothing else. Read `tick.py` first."""
