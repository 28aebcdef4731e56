"""The tick, step by step: the order of things and nothing else. Read `tick.py` first."""
