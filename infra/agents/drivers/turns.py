"""One turn: the program runs with a prompt until it ends, and everything that it prints is heard.

The turn is ended from outside if the agent is stopped, if the model stays away too long while the program itself tries again
and again, or if it tries again what cannot succeed, such as a wrong key or a stream that always breaks off.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from infra.agents.drivers import contract
from infra.agents.drivers.child import LONGEST_LINE, Child, Line
from infra.agents.drivers.contract import Driver, Failure, Start, Trouble
from infra.agents.drivers.failures import PASSING, failure_of
from infra.agents.drivers.pulse import Pulse
from infra.agents.drivers.readings import one_line
from infra.agents.drivers.scrubbing import shortened
from infra.agents.drivers.transcript import Transcript
from infra.agents.drivers.waiting import ModelWait
from shared.domain import strict_json

_LOOK_SECONDS: Final = 0.1
_VAIN_TRIES: Final = 2
_COMPACTIONS_IN_VAIN: Final = 3
_MOST_BREAKS: Final = 3
_PERMANENT: Final = frozenset({Trouble.NO_KEY, Trouble.WRONG_KEY, Trouble.NO_CREDIT, Trouble.UNKNOWN_MODEL})
_LAST_COMPLAINTS: Final = 5
_LONGEST_COMPLAINT: Final = 16_000
_MOST_CALLS: Final = 1_000
_LONGEST_ID: Final = 200


@dataclass(frozen=True, slots=True)
class TurnResult:
    """How a turn ended. `made_progress`: the model answered. `worked`: a tool has ended. `last_words`: what it said last."""

    failure: Failure | None
    made_progress: bool
    worked: bool
    last_words: str
    session_id: str | None


class Turn:
    """Runs one turn."""

    def __init__(
        self,
        driver: Driver,
        *,
        model: str,
        pulse: Pulse,
        transcript: Transcript,
        wait: ModelWait,
        stopped: threading.Event,
        began: Callable[[], None],
    ) -> None:
        """`began` is called once, when the model answers: the prompt has reached it."""
        self._driver = driver
        self._reader = driver.reader()
        self._model = model
        self._pulse = pulse
        self._transcript = transcript
        self._wait = wait
        self._stopped = stopped
        self._began = began
        self._failure: Failure | None = None
        self._last_retry: Failure | None = None
        self._made_progress = self._worked = False
        self._last_words = ""
        self._session_id: str | None = None
        self._is_over = False
        self._vain_tries = 0
        self._compactions = 0
        self._breaks = 0
        self._complaints: list[str] = []
        self._called: set[str] = set()

    def run(self, start: Start, environment: Mapping[str, str]) -> TurnResult:
        """Run the program to its end. Raises OSError if it cannot be started."""
        child = Child(start, environment)
        try:
            while not child.has_ended and not self._is_given_up():
                line = child.line(seconds=_LOOK_SECONDS)
                if line is not None:
                    self._hear(line)
                elif self._last_retry is not None:
                    self._pulse.waits_for_model()
        finally:
            code = child.end()
            self._pulse.turn_over()
        failure = self._judged(code)
        if failure is None and not self._made_progress:
            self._progress()  # it said nothing, but it has read its prompt
        return TurnResult(failure, self._made_progress, self._worked, self._last_words, self._session_id)

    def _is_given_up(self) -> bool:
        if self._stopped.is_set():
            return True
        if self._vain_tries >= _VAIN_TRIES or self._compactions >= _COMPACTIONS_IN_VAIN or self._breaks >= _MOST_BREAKS:
            return True
        return self._last_retry is not None and self._wait.is_over  # a try of our own may still be answered

    def _judged(self, code: int) -> Failure | None:
        """Why the turn failed; None if it did not."""
        if self._failure is not None:
            return self._failure
        if self._last_retry is not None and self._wait.is_over:
            return self._last_retry
        if self._is_over and code == 0:
            return None
        said = " / ".join(self._complaints[-_LAST_COMPLAINTS:])
        if code != 0:
            found = failure_of(said)
            words = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            return Failure(found.trouble, f"{words}: {found.said}", found.retry_after)
        return Failure(
            Trouble.CUT_SHORT,
            f"its output ended in the middle of a turn; {said}" if said else "its output ended in the middle of a turn",
        )

    def _hear(self, line: Line) -> None:
        if line.content is None:
            self._transcript.note(f"a line of more than {LONGEST_LINE} bytes was left out")
            self._pulse.happened("a long line")
            return
        text = line.content.decode(errors="replace").strip()
        if not text:
            return
        event = None if line.is_error_output else _event(line.content)
        if event is None:
            self._complain(shortened(text, _LONGEST_COMPLAINT))
            return
        for happening in self._reader.event(event):
            self._take(happening)

    def _complain(self, text: str) -> None:
        self._complaints = [*self._complaints, one_line(text)][-_LAST_COMPLAINTS:]
        self._transcript.complaint(text)
        for happening in self._reader.complaint(text):
            self._take(happening)

    def _take(self, happening: contract.Happening) -> None:
        match happening:
            case contract.SessionBegan(session_id):
                self._session_id = session_id
                self._pulse.happened("session_began")
            case contract.Said(text):
                self._progress()
                self._said(text)
            case contract.ToolBegan(call_id, tool, about):
                self._is_whole()
                self._tool_began(call_id, tool, about)
            case contract.ToolEnded():
                self._is_whole()
                self._tool_ended(happening)
            case contract.Used():
                self._pulse.used(happening, model=self._model)
                self._pulse.happened("used")
            case contract.Retrying(failure):
                self._retries(failure)
            case contract.Failed(failure):
                self._failure = failure
                self._breaks += failure.trouble is Trouble.BROKEN_STREAM  # opencode asks again by itself, without end
                self._pulse.happened("failed")
            case contract.Compacted():
                self._compactions += 1
                if self._compactions >= _COMPACTIONS_IN_VAIN:
                    said = "the program shortened the session again and again, and it stayed too long"
                    self._failure = Failure(Trouble.CONTEXT_FULL, said)
                self._pulse.happened("compacted")
            case contract.TurnEnded():
                self._is_over = True
                self._wait.answered()
                self._pulse.happened("turn_ended")
            case contract.SomethingElse(kind):
                self._pulse.happened(kind or "event")
            case _:
                assert_never(happening)

    def _progress(self) -> None:
        """The model answers. The answer may still break off, so only a tool or the end of the turn shows that it was whole."""
        if not self._made_progress:
            self._made_progress = True
            self._began()
        self._vain_tries = 0
        self._failure = self._last_retry = None

    def _is_whole(self) -> None:
        self._progress()
        self._wait.answered()

    def _said(self, text: str) -> None:
        self._pulse.happened("text")
        if text.strip():
            self._last_words = text
            self._transcript.said(text)
            self._show(text)

    def _tool_began(self, call_id: str, tool: str, about: str) -> None:
        self._compactions = 0
        if len(self._called) < _MOST_CALLS:
            self._called.add(call_id[:_LONGEST_ID])
        self._pulse.tool_began(call_id, tool)
        self._show(f"{tool}: {about}")
        self._transcript.tool(tool, about)

    def _tool_ended(self, ended: contract.ToolEnded) -> None:
        self._compactions = self._breaks = 0
        self._worked = True
        if ended.call_id[:_LONGEST_ID] not in self._called:
            self._transcript.tool(ended.tool, ended.about)
            self._show(f"{ended.tool}: {ended.about}")
        self._called.discard(ended.call_id[:_LONGEST_ID])
        self._pulse.tool_ended(ended.call_id)
        self._transcript.output(ended.output, failed=ended.failed)

    def _show(self, text: str) -> None:
        """Show a line as the status of the agent."""
        self._pulse.status(one_line(self._transcript.without_secrets(text)))

    def _retries(self, failure: Failure) -> None:
        """The program tries again by itself. What passes is waited for; the rest is not tried for ever."""
        if failure.trouble in PASSING:
            self._wait.failed()
            self._last_retry = failure
            self._pulse.waits_for_model()
            self._pulse.status(f"waits for the model ({failure.trouble.value.replace('_', ' ')})")
            return
        self._pulse.happened("tries_again")
        if failure.trouble in _PERMANENT:
            self._vain_tries += 1
            if self._vain_tries >= _VAIN_TRIES:
                self._failure = failure


def _event(content: bytes) -> Mapping[str, object] | None:
    """A line as a JSON object; None if it is none."""
    with contextlib.suppress(ValueError):
        found = strict_json.foreign(content, limit=LONGEST_LINE)
        if isinstance(found, Mapping):
            return found
    return None
