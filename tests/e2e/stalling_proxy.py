"""A proxy in front of a server that stalls at a chosen request: either before the request arrives or after it was carried out.

So a test can kill the client that waits for the answer at exactly that moment.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from tests.patience import PATIENCE_SECONDS

When = Literal["never", "before it arrives", "after it was carried out"]


@dataclass
class StallingProxy:
    """A TCP proxy. `stall` chooses the request; `stalled` is set when that request has come."""

    upstream: tuple[str, int]
    url: str = ""
    method: str = ""
    path: str = ""
    when: When = "never"
    stalled: threading.Event = field(default_factory=threading.Event)

    def stall(self, when: When, *, method: str, path: str) -> None:
        """Stall at the next request with this method and a path that ends with `path`."""
        self.method, self.path = method, path
        self.stalled.clear()
        self.when = when

    def serve(self, client: socket.socket) -> None:
        """Forward one connection until one side closes it."""
        with contextlib.suppress(OSError), client, socket.create_connection(self.upstream) as store:
            held = threading.Event()
            back = threading.Thread(target=self._back, args=(store, client, held), daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                if self.when != "never" and self._is_chosen(data):
                    held.set()
                    when, self.when = self.when, "never"
                    if when == "before it arrives":
                        self.stalled.set()
                        break
                store.sendall(data)
            if held.is_set():
                while client.recv(1 << 16):
                    pass

    def _is_chosen(self, data: bytes) -> bool:
        line = data.split(b"\r\n", 1)[0].split(b" ")
        if len(line) != 3:
            return False
        return line[0] == self.method.encode() and line[1].partition(b"?")[0].endswith(self.path.encode())

    def _back(self, store: socket.socket, client: socket.socket, held: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := store.recv(1 << 16):
                if held.is_set() and not data.startswith(b"HTTP/1.1 100"):
                    self.stalled.set()  # the request was carried out, but the client gets no answer
                    continue
                client.sendall(data)


@contextmanager
def stalling_proxy(upstream: str) -> Iterator[StallingProxy]:
    """A proxy on the loopback interface in front of a server's URL, while the block runs."""
    parts = urlsplit(upstream)
    proxy = StallingProxy((str(parts.hostname), int(parts.port or 80)))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        closing = threading.Event()

        def accept() -> None:
            while not closing.is_set():
                with contextlib.suppress(OSError):
                    client, _ = listening.accept()
                    threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            closing.set()
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=PATIENCE_SECONDS)
