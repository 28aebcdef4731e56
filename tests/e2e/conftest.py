"""One stack for each file, so that two files run beside each other."""

from collections.abc import Iterator

import pytest

from tests.e2e.cloud import LocalCloud, local_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with local_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running
