"""Runs of towns, as steps: load, observe, tick, commit, perform effects; and the loops that run the towns that are due."""
