"""Private repositories over git's smart HTTP, as a forge serves them: git itself answers (`git http-backend`) to valid tokens.

    gate = Gate()
    token = gate.issue("acme/app", ends_at=in_an_hour)
    with serving({"acme/app": bare_repository}, gate.verdict) as door:
        ...                                             # git clone http://127.0.0.1:PORT/acme/app.git asks for a credential

A question without a valid token is answered with 401, so git asks its helpers. A token that does not reach the repository gets 404,
as at GitHub, which does not say whether the repository exists.
"""

import base64
import binascii
import os
import re
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from starlette.responses import Response

from infra.devstack.git_seed import OFFLINE
from infra.listening.callers import Callers
from infra.listening.door import Door, opened
from infra.listening.guard import Guard, Head, Request, refusal
from infra.listening.limits import Limits

Level = Literal["read", "write"]
Verdict = Literal["yes", "unknown", "hidden"]
"""What a token is to a repository: it reaches it; it is not valid, or has ended; it is valid, and reaches others only."""

Judge = Callable[[str, str, Level], Verdict]
"""Judges a token: (token, project, level)."""

GIT_LIMITS: Final = Limits(body=64 << 20)
_PATH: Final = re.compile(r"/([\w.-]+(?:/[\w.-]+)+?)/(info/refs|git-upload-pack|git-receive-pack)", re.ASCII)
_SECONDS: Final = 60.0
_ASKS: Final = {"WWW-Authenticate": 'Basic realm="fake forge"'}


@dataclass
class Gate:
    """Tokens, each for one repository until its end, on a clock that a test sets. Thread-safe."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """The questions that were refused: (project, verdict)."""
    _issued: dict[str, tuple[str, datetime | None, Level]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self, project: str, *, ends_at: datetime | None = None, level: Level = "write") -> str:
        """A new token."""
        token = f"ghs_{secrets.token_hex(18)}"
        with self._lock:
            self._issued[token] = (project.lower(), ends_at, level)
        return token

    def end(self, token: str) -> None:
        """Revoke a token."""
        with self._lock:
            self._issued.pop(token, None)

    def verdict(self, token: str, project: str, level: Level) -> Verdict:
        """What a token is to a repository now."""
        with self._lock:
            reaches, ends_at, may = self._issued.get(token, ("", None, "read"))
            if not reaches or (ends_at is not None and self.now() >= ends_at):
                found: Verdict = "unknown"
            else:
                found = "yes" if reaches == project.lower() and level in ("read", may) else "hidden"
            if found != "yes":
                self.refused.append((project, found))
            return found


@dataclass(frozen=True)
class GitOverHttp:
    """Answers git's requests. `repositories` are bare ones, by `owner/name`."""

    repositories: Mapping[str, Path]
    judge: Judge

    @staticmethod
    def is_for_git(head: Head) -> bool:
        """Whether a request is one of git's."""
        return _named(head) is not None

    def admit(self, head: Head) -> Response | None:
        """Refuse web pages, foreign names of this machine, and whom the token does not let in."""
        problem = Callers().problem(head.headers, reached=head.reached)
        return self.refused(head) if problem is None else refusal(403, problem)

    def refused(self, head: Head) -> Response | None:
        """The refusal of a request; None if its token reaches the repository."""
        named = _named(head)
        if named is None:
            return Response("Not Found", 404)
        project, _ = named
        writes = "git-receive-pack" in head.target
        token = _password(head.headers.get("authorization", ""))
        verdict: Verdict = "unknown" if not token else self.judge(token, project, "write" if writes else "read")
        if verdict == "unknown":
            return Response("Authentication failed", 401, _ASKS)
        is_here = verdict == "yes" and project in self.repositories
        return None if is_here else Response("Repository not found.", 404)

    def answer(self, request: Request) -> Response:
        """What git answers to a request that was admitted."""
        named = _named(request.head)
        if named is None:
            return Response("Not Found", 404)
        (project, service), headers = named, request.head.headers
        variables = {
            "GIT_PROJECT_ROOT": str(self.repositories[project]),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{service}",
            "QUERY_STRING": request.head.target.partition("?")[2],
            "REQUEST_METHOD": request.head.method,
            "REMOTE_USER": "agent",
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
        }
        backend = ["git", "-c", "safe.directory=*", "http-backend"]
        around = {"PATH": os.environ.get("PATH", os.defpath), **OFFLINE, **variables}
        done = subprocess.run(
            backend, check=False, env=around, input=request.body, capture_output=True, timeout=_SECONDS
        )
        return _of_cgi(done.stdout)


@contextmanager
def serving(repositories: Mapping[str, Path], judge: Judge) -> Iterator[Door]:
    """Serve repositories on a free port of the loopback interface."""
    with opened(Guard(GitOverHttp(repositories, judge), GIT_LIMITS), limits=GIT_LIMITS) as door:
        yield door


def leading_to(door_url: str, host: str) -> dict[str, str]:
    """The variables with which git finds the repositories of a forge's host at a server of this machine."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{door_url}/.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://{host}/",
        "GIT_ALLOW_PROTOCOL": "http:https",
    }


def _named(head: Head) -> tuple[str, str] | None:
    """The repository, in lower case, and the service of git that a request names; None if it is not one of git's."""
    found = _PATH.fullmatch(unquote(head.target.partition("?")[0]))
    return None if found is None else (found[1].removesuffix(".git").lower(), found[2])


def _password(authorization: str) -> str:
    """The password of basic authorization; empty if there is none."""
    scheme, _, given = authorization.partition(" ")
    try:
        text = base64.b64decode(given, validate=True).decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text.partition(":")[2]


def _of_cgi(output: bytes) -> Response:
    """The answer that a program of the Common Gateway Interface printed."""
    head, _, body = output.partition(b"\r\n\r\n")
    lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n") if line]
    headers = {name: value.strip() for name, _, value in lines}
    status = int(headers.pop("Status", "200").partition(" ")[0])
    return Response(body, status, headers)
