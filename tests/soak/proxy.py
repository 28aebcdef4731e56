"""A TCP proxy that does to connections what networks do: it delays, resets, cuts short, refuses, or falls silent."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final, Literal

Weather = Literal["fair", "slow", "reset", "cut", "refuse", "silent"]
"""What happens to connections: `slow` delays each piece, `reset` ends a connection in the middle of a request, `cut` ends it in the
middle of an answer, `refuse` takes no connection, `silent` passes nothing on and ends nothing.
"""

_PIECE: Final = 16384
_DELAY_SECONDS: Final = (0.05, 1.5)
_CUT_BYTES: Final = (0, 2000)
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""


class Proxy:
    """Listens on a free port of the loopback interface and passes everything on to `target`. The weather may change at any time."""

    def __init__(self, target: tuple[str, int], *, seed: int) -> None:
        self._target = target
        self._chance = Random(seed)
        self._weather: Weather = "fair"
        self._fair = threading.Event()
        self._fair.set()
        self._open: set[socket.socket] = set()
        self._listener = _listener(0)
        self.port: int = self._listener.getsockname()[1]
        self._ended = False
        self.counts: dict[str, int] = {}

    @property
    def weather(self) -> Weather:
        """What happens to connections now."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        if weather == "fair":
            self._fair.set()
        else:
            self._fair.clear()
        if weather == "refuse":
            _close(self._listener)
        elif self._listener.fileno() == -1:
            self._listen_again()

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Pass connections on while the `with` block runs."""
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        try:
            yield self
        finally:
            self._ended = True
            self._fair.set()
            _close(self._listener)
            for each in tuple(self._open):
                _close(each)

    def _listen_again(self) -> None:
        self._listener = _listener(self.port)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        self._open |= {client, server}
        back = threading.Thread(target=self._pass_on, args=(server, client, "answer"), daemon=True)
        back.start()
        self._pass_on(client, server, "request")
        back.join()
        self._open -= {client, server}
        _close(client)
        _close(server)

    def _pass_on(self, source: socket.socket, sink: socket.socket, what: Literal["request", "answer"]) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                weather = self._weather
                if weather == "silent":
                    self._count(weather)
                    self._fair.wait()
                elif weather == "slow":
                    self._count(weather)
                    self._fair.wait(self._chance.uniform(*_DELAY_SECONDS))
                elif weather == "reset" and what == "request":
                    self._count(weather)
                    sink.sendall(piece[: self._chance.randrange(len(piece) + 1)])
                    break
                elif weather == "cut" and what == "answer":
                    self._count(weather)
                    sink.sendall(piece[: self._chance.randint(*_CUT_BYTES)])
                    break
                sink.sendall(piece)
            else:
                sink.shutdown(socket.SHUT_WR)
                return
        _reset(source)
        _reset(sink)

    def _count(self, weather: str) -> None:
        self.counts[weather] = self.counts.get(weather, 0) + 1


def _listener(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=64)


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    _close(connection)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
