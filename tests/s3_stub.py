"""An S3 of a few lines that does what a test tells it: lose an answer, cut a body short, refuse, ignore conditions.

It speaks HTTP on the loopback address, so what the SDK makes of a fault is what it makes of it in production.

    with stub_s3() as stub:
        stub.faults.append(lose_the_answer)
        S3Objects("towns", endpoint_url=stub.url).create("towns/demo/head", b"...")
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from starlette.responses import Response

from infra.devstack.broken_answers import CutShort, HangUp
from infra.listening.door import opened
from infra.listening.guard import Guard, Head
from infra.listening.guard import Request as HttpRequest
from infra.listening.limits import Limits
from shared.ports.object_store import StoredObject

_NO_ANSWER: Final = 0
_LIMITS: Final = Limits(body=256 << 20, held=512 << 20)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status (0: the connection is closed instead), headers, a body and how much of it is sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What came in."""

    method: str
    key: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)


Fault = Callable[[Request, Callable[[Request], Answer]], Answer]
"""What happens instead of the ordinary answer, which the second argument would give."""


def lose_the_answer(request: Request, ordinary: Callable[[Request], Answer]) -> Answer:
    """Do what is asked, and close the connection without a word."""
    ordinary(request)
    return Answer(_NO_ANSWER)


def drop_the_request(request: Request, ordinary: Callable[[Request], Answer]) -> Answer:
    """Close the connection and do nothing."""
    return Answer(_NO_ANSWER)


def cut_the_body_short(request: Request, ordinary: Callable[[Request], Answer]) -> Answer:
    """Promise the whole body and send half of it."""
    answer = ordinary(request)
    return Answer(answer.status, answer.body, answer.headers, sent=len(answer.body) // 2)


def wait_until(go_on: threading.Event) -> Fault:
    """Answer only then."""
    return lambda request, ordinary: ordinary(request) if go_on.wait() else Answer(_NO_ANSWER)


def refuse(status: int, code: str, message: str = "", **headers: str) -> Fault:
    """Answer with an error of S3."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, ordinary: _error(status, code, message, named)


class IgnoresConditions:
    """A store that takes conditional writes for plain ones, as some that speak S3 do."""

    def holds(self, there: StoredObject | None, headers: Mapping[str, str]) -> bool:
        return True


class HonoursConditions:
    """A store that does as S3 does."""

    def holds(self, there: StoredObject | None, headers: Mapping[str, str]) -> bool:
        if headers.get("if-none-match") == "*":
            return there is None
        return "if-match" not in headers or (there is not None and there.etag == headers["if-match"])


@dataclass(slots=True)
class StubS3:
    """The stub: its objects, the faults that strike the next requests one by one, and what it was asked for."""

    url: str = ""
    conditions: IgnoresConditions | HonoursConditions = field(default_factory=HonoursConditions)
    faults: deque[Fault] = field(default_factory=deque)
    objects: dict[str, StoredObject] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Answer:
        """The answer to one request, under the next fault if there is one."""
        with self.lock:
            self.requests.append(f"{request.method} {request.key}")
            fault = self.faults.popleft() if self.faults else None
            return self._ordinary(request) if fault is None else fault(request, self._ordinary)

    def _ordinary(self, request: Request) -> Answer:
        if request.method == "GET" and "list-type" in request.query:
            return self._listing(request.query)
        there = self.objects.get(request.key)
        match request.method:
            case "PUT":
                if not self.conditions.holds(there, request.headers):
                    return _error(412, "PreconditionFailed")
                etag = f'"{md5(request.body).hexdigest()}"'
                self.objects[request.key] = StoredObject(request.body, etag)
                return Answer(200, headers={"ETag": etag})
            case "DELETE":
                self.objects.pop(request.key, None)
                return Answer(204)
            case _ if there is None:
                return _error(404, "NoSuchKey")
            case _ if request.headers.get("if-none-match") == there.etag:
                return Answer(304, headers={"ETag": there.etag})
            case _:
                return Answer(200, there.body, {"ETag": there.etag})

    def _listing(self, query: Mapping[str, str]) -> Answer:
        """A page of ListObjectsV2, as far as the adapter asks for it: keys, sizes and times."""
        most = int(query.get("max-keys", "1000"))
        prefix, after = query.get("prefix", ""), query.get("start-after", "")
        found = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        listed = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-10T12:00:00.000Z</LastModified>"
            f"<ETag>{escape(self.objects[key].etag)}</ETag><Size>{len(self.objects[key].body)}</Size></Contents>"
            for key in found[:most]
        )
        more = str(len(found) > most).lower()
        body = f"<?xml version='1.0'?><ListBucketResult><IsTruncated>{more}</IsTruncated>{listed}</ListBucketResult>"
        return Answer(200, body.encode())


@contextmanager
def stub_s3(conditions: IgnoresConditions | HonoursConditions | None = None) -> Iterator[StubS3]:
    """A stub that listens while the block lasts."""
    stub = StubS3(conditions=conditions or HonoursConditions())

    class Front:
        def admit(self, head: Head) -> None: ...

        def answer(self, request: HttpRequest) -> Response:
            head = request.head
            target = urlsplit(head.target)
            _, _, key = unquote(target.path).lstrip("/").partition("/")
            query = dict(parse_qsl(target.query, keep_blank_values=True))
            answer = stub.answer(Request(head.method, key, head.headers, request.body, query))
            if answer.status == _NO_ANSWER:
                return HangUp()
            if answer.sent is not None:
                return CutShort(answer.body[: answer.sent], answer.status, answer.headers, length=len(answer.body))
            return Response(answer.body, answer.status, answer.headers)

    with opened(Guard(Front(), _LIMITS), limits=_LIMITS) as door:
        stub.url = door.url
        yield stub


def _error(status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, body.encode(), headers or {})
