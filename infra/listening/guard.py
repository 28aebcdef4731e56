"""One request: refused by its head if it can be, read within limits, answered in a thread.

    class Hello:
        def admit(self, head: Head) -> Response | None: ...       # before the body is read: who calls, and what for
        def answer(self, request: Request) -> Response: ...       # in a thread, so it may wait

    with opened(Guard(Hello())) as door: ...

A request that `admit` refuses costs no memory for its body, whatever size it announces.
"""

import asyncio
import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import anyio.to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from infra.listening.groups import Groups
from infra.listening.limits import USUAL, Limits

_CLOSE: Final = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. `target` is still percent-encoded and includes the query; names of `headers` are in lower case,
    and the values of a header that was sent several times are joined with commas. `reached` is the local address.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    reached: str = ""
    caller: str = ""

    @property
    def has_body(self) -> bool:
        """Whether a body is announced, even if it is empty."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    head: Head
    body: bytes


class Answering(Protocol):
    """What answers requests. Both methods are called by several threads."""

    def admit(self, head: Head) -> Response | None:
        """Refuse a request before its body is read; None admits it. It must not wait."""
        ...

    def answer(self, request: Request) -> Response:
        """Answer a request that was admitted."""
        ...


@runtime_checkable
class AnsweringTogether(Answering, Protocol):
    """What answers some requests together, with those that arrive at the same time."""

    def joins(self, head: Head) -> bool:
        """Whether an admitted request is answered by `answer_all`. It must not wait."""
        ...

    def answer_all(self, requests: Sequence[Request]) -> Sequence[Response]:
        """The answers to requests that join, in order."""
        ...


class Guard:
    """An ASGI application around something that answers."""

    def __init__(self, inner: Answering, limits: Limits = USUAL) -> None:
        self._inner = inner
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.at_once)
        self._held = 0
        self._threads: anyio.CapacityLimiter | None = None
        self._together = inner if isinstance(inner, AnsweringTogether) else None
        self._groups = None if self._together is None else Groups(self._together.answer_all)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        head = _head(scope)
        try:
            response = self._refused(scope, head) or self._inner.admit(head)
            if response is None:
                response = await self._answered(head, receive)
        except ConnectionAbortedError:
            return  # the caller has gone
        except Exception:  # noqa: BLE001 - a bug in one answer must not end the server
            traceback.print_exc()
            response = refusal(500, "this is a bug of the server; its output says more")
        await response(scope, receive, send)

    def _refused(self, scope: Scope, head: Head) -> Response | None:
        """What no application needs to judge."""
        if scope["http_version"] not in ("1.0", "1.1"):
            return refusal(505, "only HTTP/1.0 and HTTP/1.1 are understood", close=True)
        if len(scope["headers"]) > self._limits.headers:
            return refusal(431, f"at most {self._limits.headers} headers are accepted", close=True)
        size = len(head.target) + sum(len(name) + len(value) for name, value in scope["headers"])
        if size > self._limits.head:
            return refusal(431, f"the headers are larger than {self._limits.head} bytes", close=True)
        if "content-length" in head.headers and "transfer-encoding" in head.headers:
            return refusal(400, "a body has either a Content-Length or a Transfer-Encoding", close=True)
        if head.method == "CONNECT":
            return refusal(405, "CONNECT is not allowed", close=True)
        if not head.target.startswith("/") and (head.method, head.target) != ("OPTIONS", "*"):
            return refusal(400, "the target of a request begins with a slash", close=True)
        if int(head.headers.get("content-length", "0")) > self._limits.body:
            return refusal(413, f"the body is larger than {self._limits.body} bytes")
        return None

    async def _answered(self, head: Head, receive: Receive) -> Response:
        body = bytearray()
        try:
            refused = await self._read(body, receive)
            if refused is not None:
                return refused
            return await self._in_turn(Request(head, bytes(body)))
        finally:
            self._held -= len(body)

    async def _in_turn(self, request: Request) -> Response:
        """The answer to a request that waits until fewer than `at_once` are being answered."""
        try:
            async with asyncio.timeout(self._limits.turn_seconds):
                await self._turns.acquire()
        except TimeoutError:
            return refusal(503, "too many requests are being answered; try again")
        try:
            if self._groups is not None and self._together is not None and self._together.joins(request.head):
                return await self._groups.answer(request)
            self._threads = self._threads or anyio.CapacityLimiter(self._limits.at_once)
            return await anyio.to_thread.run_sync(
                self._inner.answer, request, abandon_on_cancel=True, limiter=self._threads
            )
        finally:
            self._turns.release()

    async def _read(self, body: bytearray, receive: Receive) -> Response | None:
        """Read a body within the limits. Raises ConnectionAbortedError if the caller has gone."""
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ConnectionAbortedError
                    part = message.get("body", b"")
                    if len(body) + len(part) > self._limits.body:
                        return refusal(413, f"the body is larger than {self._limits.body} bytes")
                    if self._held + len(part) > self._limits.held:
                        return refusal(503, "too much is being sent at once; try again")
                    body += part
                    self._held += len(part)
                    if not message.get("more_body", False):
                        return None
        except TimeoutError:
            return refusal(408, f"the body did not arrive within {self._limits.body_seconds:g} s", close=True)


def json_answer(status: int, answer: Mapping[str, object], *, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a JSON object, in ASCII, so that every text can be sent."""
    return Response(json.dumps(answer), status, headers=headers, media_type="application/json")


def refusal(status: int, error: str, *, close: bool = False) -> Response:
    """An answer that only says what was wrong. `close` is for requests after which nothing on the connection can be trusted."""
    return json_answer(status, {"error": error}, headers=_CLOSE if close else None)


def _head(scope: Scope) -> Head:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    query: bytes = scope["query_string"]
    target: str = scope["raw_path"].decode("latin-1") + ("?" + query.decode("latin-1") if query else "")
    return Head(scope["method"], target, headers, _address(scope["server"]), _address(scope["client"]))


def _address(end: Any) -> str:
    return str(end[0]) if end else ""
