"""The common parts of a fake GitHub and a fake GitLab: a server with planned failures, in front of a site (`fake_site`).

    forge = FakeGitHub()
    with forge.serving():
        pull = forge.site.opens("acme/app", head="work")      # somebody opens a pull request
        forge.site.comments(pull)                             # ... and somebody else comments on it
        forge.trouble.plan(Trouble(status=502), times=2)      # the next two requests fail

A site may have a repository (`fake_git.GitRepository`): then heads are the tips of its branches, git finds the conflicts, and a
merge really merges. Without a repository, a test sets heads and conflicts itself.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from starlette.responses import Response

from infra.devstack.broken_answers import CutShort, Drips
from infra.devstack.fake_site import ForgeDecision, Outcome, Pull, Site
from infra.listening.callers import Callers
from infra.listening.door import opened
from infra.listening.guard import Guard, Head, refusal
from infra.listening.guard import Request as HttpRequest
from infra.listening.limits import Limits

__all__ = [
    "TOKEN",
    "FakeForgeServer",
    "ForgeDecision",
    "Outcome",
    "Pull",
    "Reply",
    "Request",
    "Site",
    "Trouble",
    "Troubles",
]

_LIMITS: Final = Limits(body=10 << 20)

TOKEN: Final = "fake-forge-token"  # noqa: S105 - opens nothing
"""The default token of a fake forge. It is valid nowhere else."""


@dataclass(frozen=True)
class Trouble:
    """A planned failure of requests whose method and path match.

    `status`, `headers` and `body` replace the answer; if `carried_out`, the request still takes effect. `slow_seconds` delays
    the answer, `truncated` sends half of it, `drips` sends single bytes until the server closes, and `lie` changes the body.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    slow_seconds: float = 0
    truncated: bool = False
    drips: bool = False
    carried_out: bool = False
    lie: Callable[[Any], Any] | None = None
    path: str = ""
    method: str = ""


@dataclass
class Troubles:
    """The failures that are planned for the next requests."""

    planned: list[tuple[Trouble, int | None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, trouble: Trouble, *, times: int | None = 1) -> None:
        """Plan a failure for the next `times` matching requests, or for all of them if `times` is None."""
        with self._lock:
            self.planned.append((trouble, times))

    def end(self) -> None:
        """Cancel everything that is planned."""
        with self._lock:
            self.planned.clear()

    def meet(self, method: str, path: str) -> Trouble | None:
        """The failure that is planned for this request; None if there is none."""
        with self._lock:
            for place, (trouble, times) in enumerate(self.planned):
                if trouble.path in path and trouble.method in ("", method):
                    if times is not None:
                        self.planned[place : place + 1] = [(trouble, times - 1)] if times > 1 else []
                    return trouble
        return None


@dataclass(frozen=True)
class Request:
    """One parsed request. `path` excludes the query and is still percent-encoded; `repeated` has all values of each name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    repeated: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def number(self, name: str, default: int) -> int:
        """A whole number from the query; `default` if there is none."""
        text = self.query.get(name, "")
        return int(text) if text.isdigit() else default


@dataclass(frozen=True)
class Reply:
    """An answer. `operation` is the name of the operation in the forge's own API description, if it has one."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    operation: str = ""


class FakeForgeServer:
    """A server on this machine that runs as long as the block of `serving`. It keeps every request and every regular answer."""

    def __init__(self, site: Site | None = None, *, tokens: tuple[str, ...] = (TOKEN,)) -> None:
        self.site = site or Site()
        self.trouble = Troubles()
        self.tokens = tokens
        self.requests: list[Request] = []
        self.replies: list[Reply] = []
        self.port = 0
        self.closing = threading.Event()

    @property
    def api_url(self) -> str:
        """The base URL of its API."""
        raise NotImplementedError

    def answer(self, request: Request) -> Reply:
        """The regular answer, without a planned failure."""
        raise NotImplementedError

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve on a free port of the loopback interface."""
        self.closing.clear()
        with opened(Guard(_Front(self), _LIMITS), limits=_LIMITS) as door:
            self.port = door.port
            try:
                yield
            finally:
                self.closing.set()

    def reply(self, request: Request) -> tuple[Reply, Trouble | None]:
        """The answer to send, and the planned failure that changed it, if any."""
        self.requests.append(request)
        trouble = self.trouble.meet(request.method, request.path)
        if trouble is None:
            reply = self.answer(request)
            self.replies.append(reply)
            return reply, None
        if trouble.slow_seconds:
            self.closing.wait(trouble.slow_seconds)
        if trouble.status is not None:
            if trouble.carried_out:
                self.answer(request)
            return Reply(
                trouble.status, {"message": "trouble"} if trouble.body is None else trouble.body, trouble.headers
            ), trouble
        reply = self.answer(request)
        return (reply if trouble.lie is None else Reply(reply.status, trouble.lie(reply.body), reply.headers)), trouble


class _Front:
    """Lets a fake forge listen."""

    def __init__(self, forge: FakeForgeServer) -> None:
        self._forge = forge

    def admit(self, head: Head) -> Response | None:
        """Refuse web pages and foreign names of this machine."""
        problem = Callers().problem(head.headers, reached=head.reached)
        return None if problem is None else refusal(403, problem)

    def answer(self, request: HttpRequest) -> Response:
        """The forge's reply, or what a planned failure makes of it."""
        head, parts = request.head, urlsplit(request.head.target)
        repeated = parse_qs(parts.query)
        query = {name: values[-1] for name, values in repeated.items()}
        try:
            body = json.loads(request.body) if request.body else None
        except (ValueError, RecursionError):
            return refusal(400, "the body is not JSON")
        asked = Request(head.method, parts.path, query, head.headers, body, repeated)
        reply, trouble = self._forge.reply(asked)
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"Content-Type": "application/json", **reply.headers, "Connection": "close"}
        if trouble is not None and trouble.truncated:
            return CutShort(content[: len(content) // 2], reply.status, headers, length=len(content))
        if trouble is not None and trouble.drips:
            return Drips(content, reply.status, headers, ended=self._forge.closing)
        return Response(content, reply.status, headers)
