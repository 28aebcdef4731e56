"""The object stores that tests run on. What may run concurrently, or loses answers, does not run on moto: it answers
500 under concurrent overwrites and never 409.

`store` is each of them in turn, empty; `racing_store` each of those that stand concurrency; `waiting_store` each of them, and a
bucket whose inboxes and due markers are in a table; `seaweedfs` the server of this test process, which is started by the first test
that wants it.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import pytest

from infra.devstack.s3_servers import S3Server, dynalite_server, moto_server
from infra.devstack.s3_servers import seaweedfs as seaweedfs_server
from infra.devstack.waiting_tables import make_table
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.s3_objects import S3Objects
from shared.adapters.table_objects import TableObjects
from shared.ports.object_store import ObjectStore, VersionedObjects
from shared.storage import keys
from shared.storage.large_batches import BODIES
from tests.raw_servers import Certificates, certificates

BUCKET: Final = "towns-of-tests"
TABLE: Final = "waiting-of-tests"


class Store(ObjectStore, VersionedObjects, Protocol):
    """A store that keeps what was replaced."""


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority, and the certificate that it gave the SeaweedFS of this test process."""
    return certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory, authority: Certificates) -> Iterator[S3Server]:
    with seaweedfs_server(tmp_path_factory.mktemp("seaweedfs"), tls=authority.files) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def trusted_seaweedfs(
    seaweedfs: S3Server, authority: Certificates, as_owner: None, monkeypatch: pytest.MonkeyPatch
) -> S3Server:
    """SeaweedFS, whose authority this user's settings name."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.authority))
    return seaweedfs


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def as_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK finds the credentials of test servers and nothing of this user's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in S3Server("").environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["memory", "directory", "moto in process", "moto server", "seaweedfs", "seaweedfs over https"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with _opened(request, tmp_path) as opened:
        yield opened


@pytest.fixture(params=["memory", "directory", "seaweedfs"])
def racing_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with _opened(request, tmp_path) as opened:
        yield opened


@pytest.fixture(scope="session")
def dynalite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with dynalite_server(tmp_path_factory.mktemp("dynalite")) as server:
        yield server


ON_DYNALITE: Final = pytest.param("dynalite", marks=pytest.mark.dynalite)


@pytest.fixture(params=["memory", "directory", "moto in process", "seaweedfs", "table", ON_DYNALITE])
def waiting_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "dynalite":
        if shutil.which("dynalite") is None:
            pytest.skip("there is no dynalite here: make test-dynalite installs it")
        request.getfixturevalue("as_owner")
        server: S3Server = request.getfixturevalue("dynalite")
        name = make_table(server.tables(), f"waiting-{uuid.uuid4().hex}")
        with mocked_bucket():
            tables = TableObjects(
                name, S3Objects(BUCKET), spread=keys.DUE, large=BODIES, endpoint_url=server.endpoint_url
            )
            yield S3Objects(BUCKET, waiting=lambda _: tables)
        return
    if request.param == "table":
        request.getfixturevalue("as_owner")
        with mocked_bucket(), mocked_table() as table:
            yield S3Objects(BUCKET, waiting=lambda objects: TableObjects(table, objects, spread=keys.DUE, large=BODIES))
        return
    with _opened(request, tmp_path) as opened:
        yield opened


@contextmanager
def _opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryObjects()
        return
    if request.param == "directory":
        yield DirectoryObjects(tmp_path / "data")
        return
    request.getfixturevalue("as_owner")
    if request.param == "moto in process":
        with mocked_bucket():
            yield _client_of(None)
        return
    if request.param == "seaweedfs over https":
        request.getfixturevalue("trusted_seaweedfs")
    server: S3Server = request.getfixturevalue("moto" if request.param == "moto server" else "seaweedfs")
    server.empty(BUCKET)
    yield _client_of(server.https_url if "https" in request.param else server.endpoint_url)


@cache
def _client_of(endpoint_url: str | None) -> S3Objects:
    """One client for all tests of this process: to make one takes longer than most tests."""
    return S3Objects(BUCKET, endpoint_url=endpoint_url)


@contextmanager
def mocked_bucket() -> Iterator[None]:
    """The SDK of this process talks to moto's model of S3, in which our bucket exists and keeps versions."""
    import boto3
    from moto import mock_aws

    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield


@contextmanager
def mocked_table() -> Iterator[str]:
    """The name of a table of moto's model of DynamoDB, to which the SDK of this process talks."""
    import boto3
    from moto import mock_aws

    with mock_aws():
        yield make_table(boto3.client("dynamodb"), TABLE)
