"""The common parts of a fake GitHub and a fake GitLab: pull requests with state, actions of people on them, and a server.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

TOKEN: Final = "fake-forge-token"  # noqa: S105 - opens nothing
"""The default token of a fake forge. It is valid nowhere else."""

ForgeDecision = Literal["APPROVED", "REVIEW_REQUIRED", "CHANGES_REQUESTED"]
Outcome = Literal["success", "failure", "pending"]


class FakeRepository(Protocol):
    """A repository behind a site."""

    def tip(self, branch: str) -> str:
        """The newest commit of a branch. Raises LookupError."""
        ...

    def conflicts(self, head: str, base: str) -> bool:
        """Whether the branches cannot be merged as they are."""
        ...

    def merge(self, head: str, base: str, message: str) -> str:
        """Merge `head` into `base` and return the commit."""
        ...


@dataclass
class Pull:
    """A pull request. The next `unknown_reads` reads find that its mergeability is still being computed."""

    project: str
    number: int
    title: str
    head: str
    base: str
    sha: str
    state: Literal["open", "closed", "merged"] = "open"
    merge_sha: str | None = None
    merges: int = 0
    draft: bool = False
    conflicts: bool = False
    behind: bool = False
    unknown_reads: int = 0
    decision: ForgeDecision | None = None
    threads: dict[str, bool] = field(default_factory=dict)
    checks: dict[str, Outcome] = field(default_factory=dict)
    statuses: dict[str, Outcome] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes of all its checks."""
        return [*self.checks.values(), *self.statuses.values()]


@dataclass
class Site:
    """The pull requests of a forge, and the actions of people on them."""

    repository: FakeRepository | None = None
    ways_to_merge: tuple[str, ...] = ("merge", "squash", "rebase")
    on_open: Callable[[Pull], None] = lambda _pull: None
    pulls: list[Pull] = field(default_factory=list)
    projects: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def opens(self, project: str, *, head: str = "work", base: str = "main", title: str = "Work") -> Pull:
        """Open a pull request, or return the one that is already open for that branch."""
        with self.lock:
            self.projects.add(project.lower())
            for pull in self.pulls:
                if (pull.project.lower(), pull.head, pull.state) == (project.lower(), head, "open"):
                    return pull
            sha = f"{len(self.pulls) + 1:040x}" if self.repository is None else self.repository.tip(head)
            number = sum(each.project.lower() == project.lower() for each in self.pulls) + 1
            pull = Pull(project, number, title, head, base, sha)
            self.pulls.append(pull)
            self.on_open(pull)
            return pull

    def pushes(self, pull: Pull) -> str:
        """Push to its branch, which changes its head, and return the new head."""
        with self.lock:
            pull.sha = f"{int(pull.sha[:40], 16) + 0x1000:040x}"
            pull.conflicts = False
            return pull.sha

    def comments(self, pull: Pull) -> str:
        """Open a thread and return its id."""
        with self.lock:
            thread_id = f"thread-{pull.number}-{len(pull.threads) + 1}"
            pull.threads[thread_id] = False
            return thread_id

    def resolves(self, pull: Pull) -> None:
        """Resolve every thread."""
        with self.lock:
            pull.threads = dict.fromkeys(pull.threads, True)

    def resolves_thread(self, thread_id: str) -> bool:
        """Resolve one thread. Returns False if no thread has that id."""
        with self.lock:
            for pull in self.pulls:
                if thread_id in pull.threads:
                    pull.threads[thread_id] = True
                    return True
        return False

    def find(self, project: str, number: int) -> Pull | None:
        """The pull request with that number and the current head of its branch; None if there is none."""
        with self.lock:
            for pull in self.pulls:
                if (pull.project.lower(), pull.number) == (project.lower(), number):
                    if self.repository is not None and pull.state == "open":
                        pull.sha = self.repository.tip(pull.head)
                        pull.conflicts = self.repository.conflicts(pull.head, pull.base)
                    return pull
        return None

    def looked_at(self, pull: Pull) -> bool:
        """Whether this read finds the mergeability computed. Each read brings the result closer (`unknown_reads`)."""
        with self.lock:
            known = pull.unknown_reads == 0
            pull.unknown_reads = max(0, pull.unknown_reads - 1)
            return known

    def merge(self, pull: Pull) -> str:
        """Merge a pull request. The caller has checked that it may be merged."""
        with self.lock:
            title = f"Merge pull request #{pull.number}: {pull.title}"
            made = None if self.repository is None else self.repository.merge(pull.head, pull.base, title)
            pull.state, pull.merges = "merged", pull.merges + 1
            pull.merge_sha = made or f"{int(pull.sha[:40], 16) + 0xABC0000000:040x}"
            return pull.merge_sha


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
    """One parsed request. `path` excludes the query and is still percent-encoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

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
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        server.daemon_threads = False
        self.port = server.server_address[1]
        self.closing.clear()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="fake forge")
        thread.start()
        try:
            yield
        finally:
            self.closing.set()
            server.shutdown()
            thread.join()
            server.server_close()

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


def _handler_of(forge: FakeForgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Log nothing, because `requests` contains every request."""

        def do_GET(self) -> None:
            self._serve()

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, parts.path, query, headers, json.loads(text) if text else None)
            reply, trouble = forge.reply(request)
            raw = isinstance(reply.body, bytes)
            body = reply.body if raw else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                if trouble is None or not trouble.drips:
                    self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                half = trouble is not None and trouble.truncated
                while trouble is not None and trouble.drips and not forge.closing.wait(0.02):
                    self.wfile.write(b" ")
                self.wfile.write(body[: len(body) // 2] if half else body)
            except OSError:
                pass  # the client has disconnected, as it should if an answer is slow
            self.close_connection = True

    return Handler
