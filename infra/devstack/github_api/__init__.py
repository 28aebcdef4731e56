"""Slices of GitHub's own description of its API, for the fake GitHub and the tests that hold it to them."""
