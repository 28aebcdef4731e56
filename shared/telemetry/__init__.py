"""Telemetry for operators: one log line for each tick, metrics, alerts, and errors.

This package and `shared.adapters` do not import each other.
"""
