"""The authorizer of the events API: verifies town tokens."""
