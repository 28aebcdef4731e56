"""Formats and behaviours of others that we rely on."""
