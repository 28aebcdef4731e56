"""The town database itself."""
