"""What every test runs under.

Hypothesis draws the same examples each time, so that a red run is red again. To search further:
`make test ARGS="--hypothesis-profile=explore"`.
"""

from collections import Counter

import pytest
from hypothesis import settings

from tests import moto_transport
from tests.stores import (
    as_owner,
    authority,
    dynalite,
    moto,
    racing_store,
    seaweedfs,
    store,
    trusted_seaweedfs,
    waiting_store,
)

__all__ = [
    "as_owner",
    "authority",
    "dynalite",
    "moto",
    "racing_store",
    "seaweedfs",
    "store",
    "trusted_seaweedfs",
    "waiting_store",
]  # fixtures for every test

settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=1_000)
settings.load_profile("deterministic")

moto_transport.install()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each operation that Schemathesis tests its own id: in pytest 9.2 they all get that of their function."""
    operation = getattr(item, "operation_label", None)
    if operation is not None:
        item._id = item._id.with_params(operation)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a run in which two tests have one id: pytest-xdist would run only one of them, and nobody would notice."""
    repeated = [node for node, times in Counter(item.nodeid for item in items).items() if times > 1]
    if repeated:
        raise pytest.UsageError(f"tests with the same id: {', '.join(repeated[:5])}")
