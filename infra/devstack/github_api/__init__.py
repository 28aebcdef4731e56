"""Slices of GitHub's own descriptions of its API, for the fake GitHub and the tests that compare it with them."""
