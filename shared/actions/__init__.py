"""Intents: one class each, fields and apply. The registry stands at the end of this file's import list."""
