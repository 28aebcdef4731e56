"""One stack per test file, so that files can run in parallel."""

from collections.abc import Iterator

import pytest

from tests.e2e.cloud import LocalCloud, local_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with local_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running
