"""The containers in which `sam local invoke` runs a function, and how they reach the servers of this machine."""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from infra.devstack.s3_servers import S3Server
from shared.domain.errors import Refused

HERE: Final = "127.0.0.1"
OF_DESKTOP: Final = "host.docker.internal"
"""The name under which a virtual machine with containers, as Docker Desktop has one, reaches the machine around it."""

_GATEWAY: Final = {
    "docker": ("bridge", "{{range .IPAM.Config}}{{.Gateway}}{{end}}"),
    "podman": ("podman", "{{range .Subnets}}{{.Gateway}}{{end}}"),
}
"""The default network of each engine, and where its description names the address of this machine in it."""


@dataclass(frozen=True, slots=True)
class Containers:
    """The engine that runs here, if one does, and the address of this machine for its containers."""

    engine: str | None
    host: str


class Servers(Protocol):
    """Servers that listen on the loopback interface."""

    @property
    def store(self) -> S3Server:
        """The store."""
        ...

    @property
    def services(self) -> S3Server:
        """The queue and the secrets."""
        ...


@contextmanager
def reaching(servers: Servers) -> Iterator[Containers]:
    """Let containers reach the servers as long as the block runs.

    On Linux, this machine has an address in the engine's network, on which the servers' ports are opened too. Elsewhere the
    engine runs in a virtual machine, which reaches the loopback interface by itself.
    """
    engine = next((name for name in _GATEWAY if _succeeds(name, "info")), None)
    if engine is None:
        yield Containers(None, HERE)
        return
    network, place = _GATEWAY[engine]
    gateway = _output(engine, "network", "inspect", network, "--format", place)
    with ExitStack() as open_ports:
        host = OF_DESKTOP
        with suppress(OSError):
            for server in (servers.store, servers.services):
                port = urlsplit(server.endpoint_url).port or 0
                open_ports.enter_context(forwarded(gateway, port, to=(HERE, port)))
            host = gateway
        yield Containers(engine, host)


@contextmanager
def forwarded(host: str, port: int, *, to: tuple[str, int]) -> Iterator[int]:
    """Forward connections to a port as long as the block runs; 0 is a free port. Raises OSError if it cannot listen there."""
    with closing(socket.create_server((host, port))) as listener:
        threading.Thread(target=_accept, args=(listener, to), daemon=True).start()
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts


def _accept(listener: socket.socket, to: tuple[str, int]) -> None:
    with suppress(OSError):  # the block has ended
        while True:
            taken, _ = listener.accept()
            threading.Thread(target=_join, args=(taken, to), daemon=True).start()


def _join(taken: socket.socket, to: tuple[str, int]) -> None:
    """Carry bytes in both directions until both sides have said everything."""
    with suppress(OSError), taken, socket.create_connection(to) as asked:
        back = threading.Thread(target=_pump, args=(asked, taken), daemon=True)
        back.start()
        _pump(taken, asked)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def invoked(program: str, words: Sequence[str], environment: Mapping[str, str]) -> Any:
    """The answer of `sam local invoke`, which prints it as the last line of its output. Raises Refused if there is none."""
    done = subprocess.run(
        [program, "local", "invoke", *words], check=False, env=environment, capture_output=True, text=True
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        hint = "run `make build` first; a machine that is not arm64 also needs its emulation (qemu and binfmt)"
        raise Refused(f"sam local invoke {words[0]} failed: {done.stderr[-800:]}", status=500, path="sam", hint=hint)
    return json.loads(lines[-1])


def _succeeds(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.strip()
