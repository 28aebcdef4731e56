"""The HTTP API: refuses web pages and callers without the key by the head of their request, and routes requests to `Sessions`."""

import hmac
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from infra.agents.control_server.requests import (
    Heard,
    LookForMerge,
    RefreshToken,
    SendMessage,
    SetModel,
    StartAgentRequest,
    StopAgentRequest,
    SyncConfig,
    wrong_address,
)
from infra.agents.control_server.sessions import SessionAnswer, Sessions
from infra.listening.callers import Callers
from infra.listening.door import Door
from infra.listening.guard import Guard, Head, Request, json_answer, refusal
from infra.listening.limits import Limits
from shared.adapters.control_answers import proof_answer
from shared.domain import strict_json
from shared.domain.errors import Refused
from shared.domain.field_errors import first_error
from shared.ports.forge import Asker, MergeClaim, MergeProver

LIMITS: Final = Limits(body=1 << 20)
_METHODS: Final = ("GET", "POST", "PATCH")
_AGENT: Final = re.compile(r"/agents/([^/]+)/(stop|status|message|model)")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")

B = TypeVar("B", bound=BaseModel)


class RequestRefused(Exception):
    """The request is answered with this error, and nothing was done."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


class ControlServer:
    """The HTTP server. It answers between `open` and `close`; `address` is its base URL."""

    def __init__(
        self,
        at: tuple[str, int],
        sessions: Sessions,
        *,
        key: str,
        callers: Callers,
        limits: Limits = LIMITS,
    ) -> None:
        self.sessions = sessions
        self.prover: MergeProver | None = None
        self._key = key
        self._callers = callers
        self._door = Door(Guard(self, limits), host=at[0], port=at[1], limits=limits)

    @property
    def address(self) -> str:
        """The base URL."""
        return self._door.url

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._door.port

    def open(self) -> None:
        """Answer requests."""
        self._door.open()

    def close(self) -> None:
        """Answer no more requests. Closing twice does nothing."""
        self._door.close()

    def admit(self, head: Head) -> Response | None:
        """Refuse whom no body could help. A caller without the key learns nothing, not even which routes exist."""
        problem = self._callers.problem(head.headers, reached=head.reached)
        if problem is not None:
            return refusal(403, problem)
        given = head.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._key}".encode()):
            return refusal(401, "the bearer token is missing or is not the key of this control server")
        if head.method not in _METHODS:
            return refusal(405, f"{head.method} is not allowed")
        if head.has_body and not _is_json(head.headers.get("content-type", "")):
            return refusal(415, "the body must be application/json")
        return None

    def answer(self, request: Request) -> Response:
        """Answer a request that was admitted."""
        head = request.head
        status, answer = self.respond(head.method, head.target, head.headers, request.body)
        return json_answer(status, answer)

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> SessionAnswer:
        """The answer to one request, as status and JSON object."""
        try:
            return self._route(method, target.partition("?")[0], headers, body)
        except RequestRefused as refused:
            return refused.status, {"error": str(refused)}
        except OSError as error:
            return 500, {"error": f"a file or process operation failed in this container: {error.strerror}"}

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> SessionAnswer:
        key = headers.get("idempotency-key", "")
        sessions = self.sessions
        whole: dict[tuple[str, str], Callable[[], SessionAnswer]] = {
            ("GET", "/health"): sessions.health,
            ("POST", "/agents/start"): lambda: sessions.start(_body(StartAgentRequest, body), effect_id=key),
            ("POST", "/agents/heard"): lambda: sessions.heard(_body(Heard, body)),
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
                mode=headers.get("town-message-mode") or "immediate",
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
        wrong = wrong_address(asked.git_url, local=self.sessions.local_repositories)
        if wrong is not None:
            raise RequestRefused(400, f"gitUrl: {wrong}")
        claim = MergeClaim(**asked.model_dump())
        return 200, proof_answer(self.prover.proof(Asker(self.sessions.town_id), claim))


def _body(model: type[B], content: bytes) -> B:
    """The body as an instance of `model`. Raises RequestRefused, which names the field but never shows the value."""
    try:
        return model.model_validate(strict_json.parse(content, limit=LIMITS.body, depth=strict_json.DEEPEST))
    except Refused as refused:
        raise RequestRefused(refused.status, f"{refused.path or 'body'}: {refused.message}") from None
    except ValidationError as error:
        first = first_error(error)
        raise RequestRefused(400, f"{first.place or 'body'}: {first.message}") from None


def _generation(headers: Mapping[str, str]) -> int | None:
    text = headers.get("town-generation", "")
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise RequestRefused(400, "Town-Generation: must be a whole number")
    return int(text)


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.partition(";")
    return kind.strip().lower() == "application/json" and parameters.strip().lower() in ("", "charset=utf-8")
