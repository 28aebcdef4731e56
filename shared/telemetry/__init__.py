"""What an operator sees: one log line a tick, metrics, and errors with a hint what to do.

A sibling of `shared.adapters`; neither imports the other.
"""
