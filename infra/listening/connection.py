"""One connection: uvicorn's, which h11 reads, with the limits that uvicorn lacks.

uvicorn sets no time in which a request's head must arrive, and its limit of connections counts idle ones, so that whoever opens
enough of them keeps everybody else out. Here a timer runs whenever no request is being answered, and a connection beyond the
limit takes the place of the one that has been idle for longest, at the address that has most.
"""

import asyncio
import http
import json
import socket
import sys
from collections import Counter
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from infra.listening.limits import Limits

CONNECTION: Final = "connection"
"""The key in an ASGI scope's state under which a request finds its connection."""

_CLOSING_SECONDS: Final = 1.0


class ListeningConfig(uvicorn.Config):
    """uvicorn's configuration with our limits."""

    def __init__(self, app: Any, limits: Limits) -> None:
        super().__init__(
            app,
            http=Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=limits.idle_seconds,
            h11_max_incomplete_event_size=limits.head,
        )
        self.limits = limits


class Connection(H11Protocol):
    """One connection. A timer runs whenever no request is being answered; when it ends, the connection is closed."""

    config: ListeningConfig

    def __init__(
        self,
        config: ListeningConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, CONNECTION: self}, _loop)
        self.opened_at = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._discarded = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered: its head has not arrived, or its answer has been sent."""
        begun = self._begun
        return begun is None or begun.response_complete

    @property
    def address(self) -> str:
        """The address of the other side."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Accept a connection, and close an idle one if there are too many."""
        super().connection_made(transport)
        # asyncio does it for sockets whose protocol is named; without it, the second part of an answer waits for 40 ms
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()
        open_ones = [each for each in self.connections if isinstance(each, Connection) and not each.is_closing]
        if len(open_ones) > self.config.limits.connections:
            idle = [each for each in open_ones if each.is_idle and each is not self]
            if not idle:
                self.refuse(503, "too many requests are being answered; try again")
                return
            from_address = Counter(each.address for each in open_ones)
            min(idle, key=lambda each: (-from_address[each.address], each.opened_at)).hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what arrives. The rest of a request that was answered early is discarded, up to the size of one body."""
        if self._begun is not None and self.is_idle and self.conn.their_state is h11.SEND_BODY:
            self._discarded += len(data)
            if self._discarded > self.config.limits.body:
                self.hang_up()
                return
        super().data_received(data)

    def handle_events(self) -> None:
        """Begin the requests that have arrived."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Expect the next request."""
        self._discarded = 0
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's shape
        """Refuse what is not HTTP, with the status that h11 suggests. uvicorn calls this while it catches h11's error."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        said = str(error).partition(": bytearray(")[0]  # what follows is a line of the request
        self.refuse(status, f"the request is not valid HTTP: {said}")

    def refuse(self, status: int, error: str) -> None:
        """Answer without asking the application, and close."""
        if (begun := self._begun) is not None:
            begun.disconnected = True  # it must not answer as well
            begun.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            content = json.dumps({"error": error}).encode()
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(content))),
                ("Connection", "close"),
            ]
            reason = http.HTTPStatus(status).phrase
            events = (
                h11.Response(status_code=status, headers=headers, reason=reason),
                h11.Data(content),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self._close()

    def end(self) -> None:
        """Close after the answer to the request that has begun, or at once if none has."""
        if self.is_idle:
            self._close()
        else:
            self.cycle.keep_alive = False

    def hang_up(self) -> None:
        """Close at once, without an answer."""
        if (begun := self._begun) is not None:
            begun.disconnected = True
        self.transport.abort()

    @property
    def is_closing(self) -> bool:
        """Whether the connection is being closed."""
        return self.transport.is_closing()

    @property
    def _begun(self) -> RequestResponseCycle | None:
        """The newest request of this connection."""
        return self.cycle

    def _watch(self) -> None:
        """Let the timer run while the connection is idle, and only then."""
        if not self.is_idle or self.is_closing:
            self._end_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.config.limits.head_seconds, self._too_late)

    def _too_late(self) -> None:
        self._timer = None
        if self.is_closing:
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self.refuse(408, "the head of the request did not arrive in time")
        else:
            self._close()

    def _close(self) -> None:
        """Close when everything is sent, or soon: the other side may have stopped reading."""
        self._end_timer()
        self.transport.close()
        self.loop.call_later(_CLOSING_SECONDS, self.transport.abort)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
