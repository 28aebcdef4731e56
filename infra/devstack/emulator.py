"""Functions in the real Lambda runtime emulator, without Docker, loaded only from the folder that `sam build` made.

The emulator is part of aws-sam-cli; the runtime client is `awslambdaric`. One emulator is one warm environment. Killing it is
like losing an environment in the middle of an invocation.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import files
from pathlib import Path
from threading import Lock
from typing import Any, Final

from infra.devstack import lambda_boot, leash
from infra.devstack.s3_servers import free_ports
from shared.adapters.clock import wait_for
from shared.domain.errors import Refused

ROOT: Final = Path(__file__).resolve().parents[2]
BUILT: Final = ROOT / "build/sam-x86_64"
_CLIENT: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
_HOST: Final = "127.0.0.1"
_STARTING_SECONDS: Final = 120.0  # an environment that starts ends the wait; a busy machine takes long
_PATH: Final = "/2015-03-31/functions/function/invocations"


@dataclass
class Emulator:
    """One warm environment of one function."""

    function: str
    url: str
    log: Path
    process: "subprocess.Popen[bytes]"
    timeout: float
    _one_at_a_time: Lock = field(default_factory=Lock)

    def invoke(self, event: Any) -> Any:
        """Invoke the function and return its answer. Raises ConnectionError if the environment was lost."""
        request = urllib.request.Request(self.url + _PATH, json.dumps(event).encode(), method="POST")
        try:
            with self._one_at_a_time, urllib.request.urlopen(request, timeout=self.timeout + 10) as answer:
                return json.loads(answer.read() or b"null")
        except (urllib.error.URLError, OSError, json.JSONDecodeError) as error:
            raise ConnectionError(f"{self.function}: the environment is gone ({error})") from error

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log that are JSON objects, in order."""
        found = []
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                value = json.loads(line[line.index("{") :] if "{" in line else line)
                if isinstance(value, dict):
                    found.append(value)
        return found

    def kill(self) -> None:
        """Kill the environment, whatever it is doing."""
        _end(self.process)


def built(function: str) -> Path:
    """The folder that sam built for this machine. Raises Refused if it is missing or was built from other sources."""
    folder, hint = BUILT / function, "run: make build-x86"
    if not folder.is_dir():
        raise Refused(f"{function} was not built for this machine", status=500, path="build", hint=hint)
    if _sources(folder) != _sources(ROOT):
        raise Refused(f"{function} was built from older sources", status=500, path="build", hint=hint)
    return folder


@cache
def _sources(root: Path) -> str:
    """A digest of the project's source files below a folder."""
    digest = hashlib.sha256()
    found = (path for package in ("functions", "shared") for path in (root / package).rglob("*"))
    for path in sorted(path for path in found if path.suffix in (".py", ".sql", ".md", ".json")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def emulated(
    function: str, handler: str, environment: Mapping[str, str], *, home: Path, timeout: int = 58, memory: int = 1024
) -> Iterator[Emulator]:
    """One environment of a function that runs while the block does."""
    home.mkdir(parents=True, exist_ok=True)
    port, api_port = free_ports(2)
    log = home / f"{function}-{port}.log"
    around = {
        **environment,
        "HOME": str(home),
        "PATH": os.defpath,
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
    }
    command = [
        str(emulator_program()),
        "--runtime-interface-emulator-address",
        f"{_HOST}:{port}",
        "--runtime-api-address",
        f"{_HOST}:{api_port}",
        *runtime_command(function, handler, client=runtime_client()),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, *command],
            cwd=home,
            env=around,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(lambda: _listens(port) or process.poll() is not None, seconds=_STARTING_SECONDS, every=0.05)
        if process.poll() is not None or not _listens(port):
            raise Refused(f"the emulator of {function} does not listen", status=500, path="emulator", hint=f"see {log}")
        yield Emulator(function, f"http://{_HOST}:{port}", log, process, timeout)
    finally:
        _end(process)


def runtime_command(function: str, handler: str, *, client: Path) -> list[str]:
    """The command that the emulator runs: the runtime client, which can import only what sam built."""
    return [_python(), "-I", "-S", "-B", lambda_boot.__file__, str(built(function)), str(client), handler]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the leash and all its descendants, because the emulator gives its runtime a process group of its own."""
    for pid in [*_below(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


def _below(pid: int) -> list[int]:
    """The descendants of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [*_below(int(child)), int(child)]
    return found


def emulator_program() -> Path:
    """The runtime emulator inside aws-sam-cli. Raises Refused if that is not installed."""
    found = sorted((ROOT / ".tools").glob("sam-*/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64"))
    if not found:
        raise Refused("aws-sam-cli is not installed", status=500, path="sam", hint="run: make sam")
    found[-1].chmod(0o755)
    return found[-1]


def runtime_client() -> Path:
    """A folder that contains only Lambda's runtime client, as the Lambda runtime provides it."""
    folder = ROOT / "build/runtime-client"
    ready = folder / ".ready"
    if not ready.exists():
        for package in _CLIENT:
            for file in files(package) or ():
                if ".." in file.parts or "__pycache__" in file.parts:
                    continue
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
        ready.touch()
    return folder


def _python() -> str:
    """The interpreter of our virtual environment, which must have the version that the bundle is built for."""
    if sys.version_info[:2] != (3, 13):
        hint = "make setup PYTHON=python3.13"
        raise Refused("the bundle is built for Python 3.13", status=500, path="python", hint=hint)
    return str(getattr(sys, "_base_executable", sys.executable))


def _listens(port: int) -> bool:
    import socket

    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((_HOST, port)) == 0
