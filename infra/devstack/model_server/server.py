"""The scripted model's port: reads a request in its protocol, finds the turn, waits or fails as the script says, and answers.

It keeps every request for tests, but no key: a key is compared as it comes in, and then forgotten.
"""

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.responses import Response

from infra.devstack.model_server import chat, failures, messages, responses
from infra.devstack.model_server.answers import Answer
from infra.devstack.model_server.conversation import Conversation
from infra.devstack.model_server.failures import ErrorAnswer
from infra.devstack.model_server.scripts import Failure, Script, Trouble, Turn, next_turn
from infra.devstack.model_server.streaming import Stream
from infra.devstack.model_server.tools import NotOffered, next_content
from infra.listening.callers import Callers
from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request, json_answer, refusal
from infra.listening.limits import Limits

KEY: Final = "scripted-model-key"
"""The default key of a scripted model. It is valid nowhere else."""

MODEL: Final = "scripted-1"
"""A name for the model. Programs know none of that name, and so offer it their plain tools."""

_LIMITS: Final = Limits(body=32 << 20, held=256 << 20, headers=200, idle_seconds=60)
_KEY_HEADERS: Final = ("authorization", "x-api-key")


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol: how it reads a request, writes an answer, and says what went wrong."""

    name: str
    read: Callable[[Mapping[str, Any]], Conversation]
    whole: Callable[[Answer], dict[str, Any]]
    frames: Callable[[Answer], Iterator[bytes]]
    refused: Callable[[Trouble, str], ErrorAnswer]


_PROTOCOLS: Final = {
    "/chat/completions": Protocol("chat", chat.read, chat.whole, chat.frames, failures.of_openai),
    "/messages": Protocol("messages", messages.read, messages.whole, messages.frames, failures.of_anthropic),
    "/responses": Protocol("responses", responses.read, responses.whole, responses.frames, failures.of_openai),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered. `script` is empty if it had no script, such as the request for a title."""

    protocol: str
    conversation: Conversation
    script: str
    turn: int
    failure: Failure | None
    text: str
    """The whole request, without the header that has the key."""


class ModelServer:
    """The server. It listens in the block of `serving`, accepts the `keys`, and knows the `models`; None means every one."""

    def __init__(
        self, scripts: Sequence[Script], *, keys: tuple[str, ...] = (KEY,), models: tuple[str, ...] | None = None
    ) -> None:
        self.scripts = tuple(scripts)
        self.keys = keys
        self.models = models
        self.asked: list[Asked] = []
        self.url = ""
        self._numbers = itertools.count(1)
        self._failed: Counter[tuple[str, int]] = Counter()
        self._released: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve on a free port of the loopback interface."""
        self._closed = False
        with opened(Guard(_Front(self), _LIMITS), limits=_LIMITS) as door:
            self.url = door.url
            try:
                yield
            finally:
                with self._changed:
                    self._closed = True
                    self._changed.notify_all()

    def release(self, name: str) -> None:
        """Let steps go on that wait for `name`, and end failures that last until then."""
        with self._changed:
            self._released.add(name)
            self._changed.notify_all()

    def is_waited_for(self, name: str) -> bool:
        """Whether an agent waits for an answer that comes when `name` is released."""
        with self._changed:
            return self._waiting[name] > 0

    def asked_of(self, script: str) -> list[Asked]:
        """The requests that a script has answered, in order."""
        with self._changed:
            return [each for each in self.asked if each.script == script]

    def requests_with(self, secret: str) -> list[str]:
        """The scripts in whose requests a text occurs that no model may see."""
        with self._changed:
            return [each.script for each in self.asked if secret in each.text]

    def answer(self, protocol: Protocol, request: Request) -> Response:
        """The answer to one request."""
        conversation = protocol.read(json.loads(request.body))
        number = next(self._numbers)
        trouble = self._trouble_of_caller(request.head, conversation.model)
        turn = None if trouble else next_turn(self.scripts, conversation)
        if turn is not None and conversation.running is None:
            self._wait_for(turn.step.waits_for)
            trouble = self._planned(turn)
        self._note(protocol, conversation, turn, trouble, request)
        if trouble is not None and trouble.failure is not Failure.BROKEN_STREAM:
            return self._refusal(protocol, trouble, conversation, number)
        if turn is None:
            return refusal(400, "no script of this model suits the prompt")
        content = next_content(turn.reply, conversation)
        answer = Answer(number, conversation.model, content, turn.step.usage)
        if not conversation.streamed:
            whole = json_answer(200, protocol.whole(answer))
            return whole if trouble is None else Stream((bytes(whole.body)[:20], b""), breaks=True)
        return Stream(tuple(protocol.frames(answer)), turn.step.pause_seconds, breaks=trouble is not None)

    def _trouble_of_caller(self, head: Head, model: str) -> Trouble | None:
        given = {head.headers.get(name, "").removeprefix("Bearer ") for name in _KEY_HEADERS}
        if given.isdisjoint(self.keys):
            return Trouble(Failure.WRONG_KEY)
        is_known = self.models is None or model in self.models
        return None if is_known else Trouble(Failure.UNKNOWN_MODEL)

    def _planned(self, turn: Turn) -> Trouble | None:
        trouble = turn.step.trouble
        if trouble is None:
            return None
        with self._changed:
            if trouble.until:
                return None if trouble.until in self._released else trouble
            place = (turn.script, turn.number)
            self._failed[place] += 1
            return trouble if self._failed[place] <= trouble.times else None

    def _wait_for(self, name: str) -> None:
        with self._changed:
            self._waiting[name] += 1
            while name and name not in self._released and not self._closed:
                self._changed.wait()
            self._waiting[name] -= 1

    def _note(
        self,
        protocol: Protocol,
        conversation: Conversation,
        turn: Turn | None,
        trouble: Trouble | None,
        request: Request,
    ) -> None:
        headers = {name: value for name, value in request.head.headers.items() if name not in _KEY_HEADERS}
        text = f"{request.head.target}\n{headers}\n{request.body.decode(errors='replace')}"
        failure = None if trouble is None else trouble.failure
        script, number = ("", 0) if turn is None else (turn.script, turn.number)
        with self._changed:
            self.asked.append(Asked(protocol.name, conversation, script, number, failure, text))
            self._changed.notify_all()

    def _refusal(self, protocol: Protocol, trouble: Trouble, conversation: Conversation, number: int) -> Response:
        refused = protocol.refused(trouble, conversation.model)
        if protocol.name == "responses" and conversation.streamed and trouble.failure is Failure.CONTEXT_TOO_LONG:
            error = refused.body["error"]
            return Stream(tuple(responses.failed_frames(number, conversation.model, error["code"], error["message"])))
        return json_answer(refused.status, refused.body, headers=refused.headers)


class _Front:
    """Lets the model listen."""

    def __init__(self, model: ModelServer) -> None:
        self._model = model

    def admit(self, head: Head) -> Response | None:
        """Refuse web pages and foreign names of this machine."""
        problem = Callers().problem(head.headers, reached=head.reached)
        return None if problem is None else refusal(403, problem)

    def answer(self, request: Request) -> Response:
        """The model's answer. Programs look first whether there is a server (HEAD), and count tokens before they ask."""
        path = urlsplit(request.head.target).path
        if request.head.method in ("HEAD", "GET"):
            return Response(status_code=200 if path in ("", "/") else 404)
        if path.endswith("/count_tokens"):
            return json_answer(200, {"input_tokens": len(request.body) // 4})
        protocol = next((each for end, each in _PROTOCOLS.items() if path.endswith(end)), None)
        if protocol is None:
            return refusal(404, f"this model does not know {path}")
        try:
            return self._model.answer(protocol, request)
        except (ValueError, TypeError, AttributeError) as error:
            return refusal(400, f"the request is not one of {protocol.name}: {error!r}")
        except (LookupError, NotOffered) as error:
            return refusal(400, str(error))
