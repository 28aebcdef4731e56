"""The HTTP server: checks the caller's key before anything else, decodes JSON bodies and routes requests to `Sessions`."""

import hmac
import json
import re
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError

from infra.agents.control_server.requests import (
    LookForMerge,
    RefreshToken,
    SendMessage,
    SetModel,
    StartAgentRequest,
    StopAgentRequest,
    SyncConfig,
)
from infra.agents.control_server.sessions import SessionAnswer, Sessions
from shared.adapters.control_server import proof_answer
from shared.domain.field_errors import first_error
from shared.ports.forge import Asker, MergeClaim, MergeProver

LARGEST_BODY: Final = 1 << 20
_AGENT: Final = re.compile(r"/agents/([^/]+)/(stop|status|message|model)")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_SOCKET_SECONDS: Final = 30.0

B = TypeVar("B", bound=BaseModel)


class RequestRefused(Exception):
    """The request is answered with this error, and nothing was done."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


class ControlServer(ThreadingHTTPServer):
    """The HTTP server. `serve_forever` runs it; `address` is its base URL."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, at: tuple[str, int], sessions: Sessions, *, key: str | None) -> None:
        super().__init__(at, _Handler)
        self.sessions = sessions
        self.prover: MergeProver | None = None
        self._key = key

    @property
    def address(self) -> str:
        """The base URL."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> SessionAnswer:
        """Answer one request. A caller without the key learns nothing, not even which routes exist."""
        try:
            self._require_key(headers)
            return self._route(method, path.partition("?")[0], headers, body)
        except RequestRefused as refused:
            return refused.status, {"error": str(refused)}
        except OSError as error:
            return 500, {"error": f"a file or process operation failed in this container: {error.strerror}"}

    def _require_key(self, headers: Mapping[str, str]) -> None:
        given = _header(headers, "Authorization")
        if self._key is not None and not hmac.compare_digest(given.encode(), f"Bearer {self._key}".encode()):
            raise RequestRefused(401, "the bearer token is missing or is not the key of this control server")

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> SessionAnswer:
        key = _header(headers, "Idempotency-Key")
        sessions = self.sessions
        whole: dict[tuple[str, str], Callable[[], SessionAnswer]] = {
            ("GET", "/health"): sessions.health,
            ("POST", "/agents/start"): lambda: sessions.start(_body(StartAgentRequest, body), effect_id=key),
            ("POST", "/refresh-token"): lambda: sessions.refresh_token(_body(RefreshToken, body)),
            ("POST", "/merge-proof"): lambda: self._look(_body(LookForMerge, body)),
            ("POST", "/sync-config"): lambda: sessions.sync_config(_body(SyncConfig, body)),
        }
        found = whole.get((method, path))
        if found is not None:
            return found()
        found_agent = _AGENT.fullmatch(path)
        if found_agent is None:
            raise RequestRefused(404, "no such route")
        agent_id, verb = unquote(found_agent[1]), found_agent[2]
        answers: dict[tuple[str, str], Callable[[], SessionAnswer]] = {
            ("POST", "stop"): lambda: sessions.stop(
                agent_id, _body(StopAgentRequest, body or b"{}"), effect_id=key, generation=_generation(headers)
            ),
            ("GET", "status"): lambda: sessions.status(agent_id),
            ("POST", "message"): lambda: sessions.message(
                agent_id,
                _body(SendMessage, body),
                message_id=key or "message",
                mode=_header(headers, "Town-Message-Mode") or "immediate",
            ),
            ("PATCH", "model"): lambda: sessions.update_model(agent_id, _body(SetModel, body), effect_id=key),
        }
        answer = answers.get((method, verb))
        if answer is None:
            raise RequestRefused(405, f"{method} is not allowed for {verb}")
        return answer()

    def _look(self, asked: LookForMerge) -> SessionAnswer:
        """Check whether a merge has happened, with this container's git."""
        if self.prover is None:
            return 200, {"says": "this control server has no git to look with"}
        claim = MergeClaim(**asked.model_dump())
        return 200, proof_answer(self.prover.proof(Asker(self.sessions.town_id), claim))


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, passes it to the server and writes the answer."""

    server: ControlServer
    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_SECONDS

    def do_GET(self) -> None:
        """Answer a request of any method."""
        self._answer()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST_BODY:
            self.close_connection = True
            self.write(413, {"error": f"the body is larger than {LARGEST_BODY} bytes, or Content-Length is invalid"})
            return
        status, answer = self.server.respond(
            self.command, self.path, dict(self.headers.items()), self.rfile.read(length)
        )
        self.write(status, answer)

    def write(self, status: int, answer: Mapping[str, object]) -> None:
        """Send one JSON answer. A caller that has closed the connection is ignored."""
        content = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing, because events and answers already report everything that matters."""


def _body(model: type[B], content: bytes) -> B:
    """The body as an instance of `model`. Raises RequestRefused, which names the field but never shows the value."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = first_error(error)
        raise RequestRefused(400, f"{first.place or 'body'}: {first.message}") from None


def _generation(headers: Mapping[str, str]) -> int | None:
    text = _header(headers, "Town-Generation")
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise RequestRefused(400, "Town-Generation: must be a whole number")
    return int(text)


def _header(headers: Mapping[str, str], name: str) -> str:
    """The value of a header, matched without regard to case; empty if it was not sent."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")
