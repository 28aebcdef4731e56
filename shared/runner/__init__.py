"""Runs over towns, as steps: load, look, tick, commit, perform effects; and who is due when."""
