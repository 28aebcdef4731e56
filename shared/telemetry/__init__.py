"""What an operator sees: one log line for each tick, metrics, alerts, and errors with a hint what to do.

This package and `shared.adapters` do not import each other.
"""
