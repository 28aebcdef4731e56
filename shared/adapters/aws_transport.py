"""How one signed request gets to a server and its answer back: over a connection that is kept, or through a proxy."""

import http.client
import os
import select
import socket
import ssl
import sys
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult

from shared.ports.steps import AT_ONCE


class NotConnected(Exception):
    """No connection was made, so nothing of the request was sent."""


class NoWholeAnswer(Exception):
    """The request was sent, in part or in whole, and no whole answer came back."""


class AnswerTooLarge(Exception):
    """The answer has more bytes than the caller accepts; it was not downloaded."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request as it is sent. `target` is a path with its query, percent-encoded; `headers` include `host`."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        """What the service calls this request; empty if it does not say it."""
        return self.headers.get("x-amz-request-id") or self.headers.get("x-amzn-requestid", "")


@dataclass(frozen=True, slots=True)
class Server:
    """The server of a URL, and how long one attempt may take. `ca_bundle` is a file of the authorities that are trusted."""

    parts: SplitResult
    connect_seconds: float
    read_seconds: float
    ca_bundle: str | None = None

    @property
    def host(self) -> str:
        """The host as every client writes it: without the port that the scheme has anyway, and without a user."""
        host = self.parts.netloc.rpartition("@")[2]
        return host.removesuffix({"http": ":80", "https": ":443"}.get(self.parts.scheme, ""))


class Transport(Protocol):
    """The way to one server. Safe for threads."""

    def exchange(self, request: WireRequest, *, largest: int) -> HttpAnswer:
        """Send one request and read its whole answer. Raises NotConnected, NoWholeAnswer, AnswerTooLarge."""
        ...


def transport_to(server: Server) -> Transport:
    """The way to a server: direct, unless the environment names a proxy for it."""
    proxies = _proxies_for(server.parts)
    return _ThroughProxy(server, proxies) if proxies else _Direct(server)


class _Direct:
    """A transport without a proxy: the connections that are not in use, newest last."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=AT_ONCE)
        weakref.finalize(self, _close_all, self._idle)

    def exchange(self, request: WireRequest, *, largest: int) -> HttpAnswer:
        """Send one request and read its whole answer."""
        connection = self._connected()
        try:
            answer, is_kept = _asked(connection, request, largest=largest)
        except (http.client.HTTPException, OSError, ValueError) as error:
            connection.close()
            raise NoWholeAnswer(type(error).__name__) from error
        except BaseException:
            connection.close()
            raise
        if is_kept and len(self._idle) < AT_ONCE:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _connected(self) -> http.client.HTTPConnection:
        with suppress(IndexError):
            while True:
                kept = self._idle.pop()
                if not _is_readable(kept.sock):  # what can be read before a request is the end of the connection
                    return kept
                kept.close()
        try:
            made = self._new()
            made.connect()
            made.sock.settimeout(self._server.read_seconds)
            made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except (http.client.HTTPException, OSError) as error:
            raise NotConnected(type(error).__name__) from error
        return made

    def _new(self) -> http.client.HTTPConnection:
        parts, seconds = self._server.parts, self._server.connect_seconds
        if parts.scheme == "http":
            made = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=seconds)
        else:
            trust = _trust(self._server.ca_bundle)
            made = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=seconds, context=trust)
        made.response_class = _WholeHeaders
        return made


class _ThroughProxy:
    """A transport through the proxy of the environment. The SDK knows all kinds of proxies; few towns are behind one."""

    def __init__(self, server: Server, proxies: Mapping[str, str]) -> None:
        from botocore.httpsession import URLLib3Session  # noqa: PLC0415 - slow; only where there is a proxy

        self._origin = f"{server.parts.scheme}://{server.host}"
        self._session = URLLib3Session(
            verify=server.ca_bundle or True,
            proxies=dict(proxies),
            timeout=(server.connect_seconds, server.read_seconds),
            max_pool_connections=AT_ONCE,
        )

    def exchange(self, request: WireRequest, *, largest: int) -> HttpAnswer:
        """Send one request and read its whole answer."""
        from botocore import exceptions as sdk  # noqa: PLC0415 - imported by now
        from botocore.awsrequest import AWSPreparedRequest, HeadersDict  # noqa: PLC0415 - as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        sent = HeadersDict({**request.headers, "accept-encoding": "identity"})
        try:
            answer = self._session.send(
                AWSPreparedRequest(
                    request.method, self._origin + request.target, sent, request.body, stream_output=True
                )
            )
            said = {name.lower(): str(value) for name, value in answer.headers.items()}
            _refuse_if_too_large(answer.status_code, said, largest)
            return HttpAnswer(int(answer.status_code), said, bytes(answer.content))
        except (
            sdk.EndpointConnectionError,
            sdk.ConnectTimeoutError,
            sdk.SSLError,
            sdk.ProxyConnectionError,
        ) as error:
            raise NotConnected(type(error).__name__) from error
        except (sdk.BotoCoreError, HTTPError, ValueError) as error:
            raise NoWholeAnswer(type(error).__name__) from error


class _WholeHeaders(http.client.HTTPResponse):
    """An answer whose headers must be complete: to the standard library, those that break off are."""

    def begin(self) -> None:
        """Read status and headers."""
        lines = self.fp
        whole: Any = _WholeLines(lines)
        self.fp = whole
        try:
            super().begin()
        finally:
            self.fp = lines


class _WholeLines:
    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def readline(self, limit: int) -> bytes:
        line: bytes = self._lines.readline(limit)
        if not line.endswith(b"\n") and len(line) < limit:
            raise http.client.IncompleteRead(line)
        return line


def _asked(connection: http.client.HTTPConnection, request: WireRequest, *, largest: int) -> tuple[HttpAnswer, bool]:
    """The answer, and whether the connection can be used again."""
    connection.request(request.method, request.target, body=request.body or None, headers=dict(request.headers))
    with connection.getresponse() as response:
        said = {name.lower(): value for name, value in response.getheaders()}
        _refuse_if_too_large(response.status, said, largest)
        answer = HttpAnswer(response.status, said, response.read())
        return answer, not response.will_close


def _refuse_if_too_large(status: int, said: Mapping[str, str], largest: int) -> None:
    size = int(said.get("content-length", "0"))
    if status < 300 and size > largest:
        raise AnswerTooLarge(size)


def _is_readable(sock: socket.socket) -> bool:
    asked = select.poll()
    asked.register(sock, select.POLLIN)
    return bool(asked.poll(0))


def _close_all(idle: "deque[http.client.HTTPConnection]") -> None:
    while idle:
        idle.pop().close()


def _proxies_for(parts: SplitResult) -> Mapping[str, str]:
    """The proxies of the environment, unless none is for this server."""
    if sys.platform != "darwin" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}  # without the import below
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - slow to import, and most environments have no proxy

    found = getproxies()
    return {} if parts.scheme not in found or proxy_bypass(str(parts.hostname)) else found


@cache
def _trust(ca_bundle: str | None) -> ssl.SSLContext:
    """The authorities that the SDK trusts: those of a file that the settings name, else those that come with it."""
    made = ssl.create_default_context(cafile=ca_bundle or _authorities())
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as the SDK: an authority of one's own may lack some extensions
    return made


def _authorities() -> str | None:
    found = find_spec("certifi")
    return None if found is None or found.origin is None else str(Path(found.origin).with_name("cacert.pem"))
