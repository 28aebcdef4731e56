"""The work on one start order with one driver: turn after turn, until the agent has reported, gives up, or cannot go on.

Exit codes: 0 if the agent reported what it did; else 1, with the reason in `exit-reason.txt`.
"""

import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from infra.agents.drivers import prompts
from infra.agents.drivers.contract import Driver, Failure, Models, Setting, Trouble
from infra.agents.drivers.desk import Desk
from infra.agents.drivers.failures import PASSING, in_words
from infra.agents.drivers.pulse import Pulse
from infra.agents.drivers.readings import one_line
from infra.agents.drivers.reports import Reports
from infra.agents.drivers.transcript import Transcript
from infra.agents.drivers.turns import Turn, TurnResult
from infra.agents.drivers.waiting import ModelWait, wait_until
from infra.agents.posting import NotPosted
from infra.agents.town_agent.mailbox import Letter
from shared.domain.orders import StartOrder
from shared.domain.states import Role

FINAL_REPORTS: Final = frozenset({"agent_done", "agent_completed", "triage_resolved"})
IDLE_EXIT: Final = {Role.POLECAT: timedelta(minutes=2), Role.REFINERY: timedelta(minutes=10)}
"""How long an agent waits for mail before it ends. The mayor waits for ever."""

ONLY_WAITED: Final = "idle: it only waited"
_TAKEN_UP_AGAIN: Final = frozenset({Trouble.BROKEN_STREAM, Trouble.CUT_SHORT})
_BROKEN_TRIES: Final = 3
_BROKEN_PAUSE: Final = timedelta(seconds=5)
_MAIL_LOOK: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Means:
    """What a session works with."""

    driver: Driver
    desk: Desk
    order: StartOrder
    environment: Mapping[str, str]
    reports: Reports
    pulse: Pulse
    transcript: Transcript
    stopped: threading.Event
    model_url: str | None = None
    tools: tuple[str, ...] = ()

    @property
    def program_place(self) -> Path:
        """The directory of the program's configuration and data."""
        return self.desk.place / "program"


class Session:
    """One generation of an agent."""

    def __init__(self, means: Means) -> None:
        self._with = means
        self._wait = ModelWait(means.reports.clock, means.stopped)
        self._session_id: str | None = None
        self._broken = 0
        self._was_reminded = False
        self._place = means.program_place

    def run(self) -> int:
        """Work to the end. Returns the exit code."""
        means = self._with
        self._place.mkdir(mode=0o700, exist_ok=True)
        prompt, letters = means.order.prompt or "", list[Letter]()
        while not means.stopped.is_set():
            said_before = means.desk.waits()
            result = self._turn(prompt, letters)
            if isinstance(result, str):
                return self._fail(result)
            if means.stopped.is_set():
                break
            if result.failure is not None and not self._is_finished():
                again = self._after_failure(result, prompt)
                if again is None:
                    return self._fail(self._in_words(result.failure))
                prompt = again
                continue
            following = self._following(result, waited_before=said_before)
            if isinstance(following, int):
                return following
            prompt, letters = following
        return 0

    def _turn(self, prompt: str, letters: Sequence[Letter]) -> TurnResult | str:
        """Run a turn; a text says why it could not be started."""
        means, driver = self._with, self._with.driver
        program = shutil.which(driver.program, path=means.environment.get("PATH"))
        if program is None:
            return f"no agent program: {driver.program} is not on PATH; install it: {driver.install}"
        setting = self._setting()
        missing = driver.missing_key(setting)
        if missing is not None:
            return f"no key for the model: {missing}"
        means.transcript.prompt(prompt)
        turn = Turn(
            driver,
            model=setting.models.model or "default",
            pulse=means.pulse,
            transcript=means.transcript,
            wait=self._wait,
            stopped=means.stopped,
            began=lambda: self._delivered(letters),
        )
        try:
            start = driver.start(program, prompt, setting, session_id=self._session_id)
            result = turn.run(start, means.environment)
        except OSError as error:
            return f"no agent program: {program} cannot be run: {error.strerror or error}; {driver.install}"
        self._session_id = result.session_id or self._session_id
        return result

    def _setting(self) -> Setting:
        means = self._with
        return Setting(
            order=means.order,
            place=self._place,
            environment=means.environment,
            models=self._models(),
            model_url=means.model_url,
            tools=means.tools,
        )

    def _models(self) -> Models:
        return self._with.desk.models(self._with.order)

    def _delivered(self, letters: Sequence[Letter]) -> None:
        """The letters have reached the model: mark them as read and tell the town."""
        for letter in letters:
            if letter.is_nudge:
                try:
                    self._with.reports.acknowledge(letter.message_id)
                except NotPosted as error:
                    self._with.transcript.note(f"a message was delivered, but that did not reach the town: {error}")
            letter.mark_read()

    def _has_reported(self) -> bool:
        """Whether the town has acknowledged a report that ends the work. The mayor's never ends."""
        return self._with.order.role is not Role.MAYOR and self._with.desk.report() in FINAL_REPORTS

    def _is_finished(self) -> bool:
        """Whether nothing is left to say: what fails after the last report spoils nothing."""
        return self._has_reported() and not self._with.desk.letters()

    def _after_failure(self, result: TurnResult, prompt: str) -> str | None:
        """The prompt with which to go on after a failure; None if there is nothing to be done."""
        failure, means = result.failure, self._with
        if failure is None:
            return None
        means.transcript.note(f"the turn failed ({failure.trouble.value}): {failure.said}")
        if failure.trouble in PASSING:
            delay = self._wait.next_delay(failure.retry_after)
            if delay is None:
                return None
            words = failure.trouble.value.replace("_", " ")
            means.pulse.status(f"waits for the model ({words}), next try in {delay.total_seconds():.0f} s")
            self._wait.wait(delay, meanwhile=means.pulse.waits_for_model)
        elif failure.trouble in _TAKEN_UP_AGAIN:
            self._broken = 1 if result.worked else self._broken + 1  # half an answer is no progress
            if self._broken > _BROKEN_TRIES:
                return None
            self._wait.wait(_BROKEN_PAUSE * self._broken, meanwhile=means.pulse.waits_for_model)
        else:
            return None
        return prompts.GO_ON if result.made_progress and self._session_id is not None else prompt

    def _following(self, result: TurnResult, *, waited_before: object) -> tuple[str, list[Letter]] | int:
        """What comes after a turn that ended well: the next prompt with the letters in it, or the exit code."""
        means = self._with
        self._broken = 0
        letters = means.desk.letters()
        if letters:
            return prompts.with_letters(letters), letters
        if self._has_reported():
            means.transcript.note(f"the agent has reported {means.desk.report()}")
            return 0
        waits = means.desk.waits()
        if means.order.role is Role.MAYOR or (waits is not None and waits != waited_before):
            return self._await_mail()
        if self._was_reminded:
            words = one_line(result.last_words) or "nothing, as of a model that refuses to answer"
            return self._fail(f"it ended without a report, twice; its last words: {words}")
        self._was_reminded = True
        means.transcript.note("the agent ended without a report, and is asked once more")
        return prompts.reminder(means.order), []

    def _await_mail(self) -> tuple[str, list[Letter]] | int:
        """Wait for mail. Returns the prompt with it, or the exit code if none comes."""
        means, clock = self._with, self._with.reports.clock
        means.desk.note_waiting(clock)
        if means.order.role is Role.MAYOR:
            try:
                means.reports.mayor_waits()
            except NotPosted as error:
                means.transcript.note(f"that the mayor waits did not reach the town: {error}")
        means.transcript.note("waits for mail")
        since, patience = clock.now(), IDLE_EXIT.get(means.order.role)
        while not means.stopped.is_set():
            letters = means.desk.letters()
            if letters:
                self._was_reminded = False
                return prompts.with_letters(letters), letters
            if patience is not None and clock.now() - since > patience:
                return self._fail(ONLY_WAITED)
            wait_until(clock, clock.now() + _MAIL_LOOK, means.stopped)
        return 0

    def _in_words(self, failure: Failure) -> str:
        driver = self._with.driver
        key = driver.missing_key(Setting(self._with.order, self._place, {})) or "set the key of your model's provider"
        return in_words(failure, program=driver.name, model=self._models().model, key=key)

    def _fail(self, reason: str) -> int:
        self._with.transcript.note(f"ends: {reason}")
        self._with.desk.explain(self._with.transcript.without_secrets(reason))
        return 1
