"""Intake: turns the bytes of a request or an inbox object into validated events."""
