"""What every test runs under.

Hypothesis draws the same examples each time, so that a red run is red again. To search further:
`make test ARGS="--hypothesis-profile=explore"`.
"""

from hypothesis import settings

from tests.stores import as_owner, moto, racing_store, seaweedfs, store

__all__ = ["as_owner", "moto", "racing_store", "seaweedfs", "store"]  # fixtures for every test

settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=1_000)
settings.load_profile("deterministic")
