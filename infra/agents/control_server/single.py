"""A container for a single agent: it fetches the start request from TOWN_START_URL and ends when the agent has ended."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from infra.agents.control_server.requests import StartAgentRequest
from infra.agents.control_server.secret_files import write_secret
from infra.agents.control_server.server import Running
from infra.agents.control_server.sessions import NOT_STARTED
from shared.adapters.clock import wait_for
from shared.adapters.ecs_runtime import CONTAINER_TOKEN_VARIABLE
from shared.adapters.http_json import Answered, call
from shared.domain.field_errors import all_errors

_FETCH_SECONDS: Final = 20.0
_FETCH_TRIES: Final = 3


class NothingToDo(Exception):
    """The start request could not be fetched or is invalid."""


def request_at(url: str) -> StartAgentRequest:
    """Fetch the start request. Raises NothingToDo, whose text never contains the URL, because the URL is a credential."""
    said = "no answer"
    for _ in range(_FETCH_TRIES):
        answer = call("GET", url, headers={}, seconds=_FETCH_SECONDS)
        if isinstance(answer, Answered) and answer.ok and answer.is_json:
            try:
                request = StartAgentRequest.model_validate_json(json.dumps(answer.body))
                request.generation(otherwise=1)
            except ValidationError as error:
                fields = [each.place for each in all_errors(error)]
                raise NothingToDo(f"the start request is invalid in these fields: {', '.join(fields)}") from None
            except ValueError as error:
                raise NothingToDo(f"the start request is invalid: {error}") from None
            return request
        said = answer.said if isinstance(answer, Answered) else answer.reason
    raise NothingToDo(f"the start request could not be fetched: {said}")


def keep_own_token(request: StartAgentRequest, root: Path) -> StartAgentRequest:
    """Store the server's own token in the file that the server reads. Returns the request without that token."""
    variables = dict(request.env_vars)
    token = variables.pop(CONTAINER_TOKEN_VARIABLE, None)
    if token is not None:
        write_secret(root / "token", token)
    return request.model_copy(update={"env_vars": variables})


def run_one(running: Running, request: StartAgentRequest, *, effect_id: str, ended: Callable[[], bool]) -> int:
    """Start the agent and wait until it has ended or `ended()` is true. Returns 1 if it could not be started, else 0."""
    status, answer = running.sessions.start(request, effect_id=effect_id)
    if status not in (200, 202):
        running.watch.report_end(
            request.agent_id, request.generation(otherwise=1), f"{NOT_STARTED}: {answer.get('error')}"
        )
        return 1
    wait_for(lambda: ended() or is_over(running, request.agent_id), seconds=float("inf"), every=0.2)
    return 1 if is_not_started(running, request.agent_id) else 0


def is_over(running: Running, agent_id: str) -> bool:
    """Whether the agent's newest generation has ended or could not be started."""
    status, answer = running.sessions.status(agent_id)
    return status == 200 and answer["status"] == "exited"


def is_not_started(running: Running, agent_id: str) -> bool:
    """Whether the agent's newest generation could not be started: a start may fail long after it was accepted."""
    _, answer = running.sessions.status(agent_id)
    return str(answer.get("exitReason", "")).startswith(NOT_STARTED)
