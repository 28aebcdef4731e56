"""The acceptance scenarios of spec/scenarios.md: each number has a test; `test_table.py` knows what is missing."""
