"""The authorizer of the events API: is this a town token, and whose."""
