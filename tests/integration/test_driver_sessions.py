"""Sessions of a driver: every way in which a turn and an agent end, with a program that prints what a test planned.

The driver is a fourth one, written in a test against the contract: what holds for it holds for any.
"""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

from infra.agents.drivers import child, prompts
from infra.agents.drivers.desk import EXIT_REASON, Desk
from infra.agents.drivers.pulse import Pulse
from infra.agents.drivers.reports import Reports
from infra.agents.drivers.scrubbing import Scrubber
from infra.agents.drivers.session import Means, Session
from infra.agents.drivers.transcript import TRANSCRIPT, Transcript
from infra.agents.drivers.waiting import AT_MOST, ModelWait
from infra.agents.town_agent.order import caller
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import ScaledClock, SystemClock, wait_for
from shared.domain import strict_json
from shared.domain.orders import StartOrder
from shared.domain.states import Role
from tests.fakes import FakeClock
from tests.integration.scripted_program import DONE, OVER, SESSION, Scripted, Step, fails, install, says
from tests.patience import PATIENCE_SECONDS
from tests.posted_events import PostedEvents
from tests.towns import MS, T

FAST = 2000.0
"""How much faster the town's clock runs where a test waits for it: half an hour in a second."""

BRISK = 60.0
"""The same where starts of the program must take little of the town's time, even on a busy machine."""

NUDGE = "00000000-0000-4000-8000-00000000000a"
SECRET = "a-key-that-looks-like-a-word"


@dataclass
class Agent:
    """One generation of an agent with a planned program."""

    root: Path
    role: Role = Role.POLECAT
    speed: float = 1.0
    environment: dict[str, str] = field(default_factory=dict)
    posted: PostedEvents = field(default_factory=PostedEvents)
    out: StringIO = field(default_factory=StringIO)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def desk(self) -> Path:
        return self.root / "agent-p" / "00000001" / "agent"

    def run(self, *turns: list[Step], model: str | None = None, prompt: str = "do the bead") -> int:
        install(self.root / "bin", *turns)
        (self.desk / "messages").mkdir(parents=True, exist_ok=True)
        order = StartOrder(
            town_id="t", agent_id="p", generation=1, role=self.role, prompt=prompt, branch="br", model=model
        )
        context = self.desk / "context.json"
        context.write_text(json.dumps(order.as_json()), encoding="utf-8")
        path = os.pathsep.join([str(self.root / "bin"), os.environ["PATH"]])
        around = {"PATH": path, supervisor.MARK_VARIABLE: str(context), **self.environment}
        clock = ScaledClock.starting_now(speed=self.speed)
        reports = Reports(caller(around), self.posted, clock)
        scrub = Scrubber([SECRET])
        transcript = Transcript(self.desk, clock, scrub, out=self.out)
        pulse = Pulse(reports, self.desk, transcript.note, scrub)
        pulse.start()
        try:
            return Session(
                Means(Scripted(), Desk.of(context, scrub), order, around, reports, pulse, transcript, self.stopped)
            ).run()
        finally:
            child.end_everything(str(context))
            pulse.finish()

    def later(self, deed: Callable[[], object], *, once: Callable[[], bool]) -> threading.Thread:
        """Do something in another thread once a condition holds. If it never does, the session ends, and the test fails."""

        def wait_and_do() -> None:
            if not wait_for(once, seconds=PATIENCE_SECONDS):
                self.stopped.set()
                raise AssertionError("the session never came to the point that the test waits for")
            deed()

        thread = threading.Thread(target=wait_and_do, daemon=True)
        thread.start()
        return thread

    def letter(self, message_id: str, text: str) -> None:
        (self.desk / "messages").mkdir(parents=True, exist_ok=True)
        said = {"message_id": message_id, "text": text, "mode": "immediate"}
        (self.desk / "messages" / f"{message_id}.json").write_text(json.dumps(said), encoding="utf-8")

    @property
    def reason(self) -> str:
        path = self.desk / EXIT_REASON
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def calls(self) -> list[Step]:
        lines = (self.root / "bin" / "calls.jsonl").read_text(encoding="utf-8").splitlines()
        return [strict_json.foreign(line, limit=1 << 20) for line in lines]


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def test_an_agent_that_reported_ends_well(agent: Agent) -> None:
    assert agent.run([SESSION, says("I work"), DONE, OVER]) == 0
    assert agent.reason == ""
    assert [call["prompt"] for call in agent.calls] == ["do the bead"]


def test_an_agent_that_ends_without_a_report_is_asked_once_more_in_the_same_session(agent: Agent) -> None:
    assert agent.run([SESSION, says("enough"), OVER], [SESSION, DONE, OVER]) == 0
    assert agent.calls[1]["argv"] == ["--model", "none", "--resume", "s1"]
    assert "town-agent give-up" in str(agent.calls[1]["prompt"])


def test_an_agent_that_never_reports_fails_with_its_last_words(agent: Agent) -> None:
    assert agent.run([SESSION, says("I do not know how"), OVER]) == 1
    assert agent.reason == "it ended without a report, twice; its last words: I do not know how"
    assert len(agent.calls) == 2


def test_request_changes_alone_is_no_end_of_a_review(tmp_path: Path) -> None:
    reviewer = Agent(tmp_path, role=Role.REFINERY)
    requested = {"note": {"file": "reported.json", "is": {"event_type": "changes_requested"}}}
    assert reviewer.run([SESSION, requested, OVER], [DONE, OVER]) == 0
    assert len(reviewer.calls) == 2


@pytest.mark.parametrize(
    ("step", "beginning"),
    [
        (fails("prompt is too long: 300000 tokens"), "the context of"),
        (fails("blocked by our usage policy"), "the default model of scripted refused"),
        (fails("invalid api key", status=401), "no key for the model: "),
        (fails("Please run /login"), "no key for the model: "),
        (fails("your credit balance is too low", status=400), "the model was not available: the account"),
        (fails("model_not_found", status=404), "the model was not available: the server does not offer"),
        (fails("it is Tuesday"), "scripted failed"),
    ],
)
def test_what_does_not_pass_ends_the_agent_at_once_with_what_to_do(agent: Agent, step: Step, beginning: str) -> None:
    assert agent.run([SESSION, step, {"exit": 1}]) == 1
    assert agent.reason.startswith(beginning), agent.reason
    assert len(agent.calls) == 1


def test_a_missing_key_is_said_before_the_program_is_started(agent: Agent) -> None:
    agent.environment["SCRIPTED_KEY"] = ""
    assert agent.run([OVER]) == 1
    assert agent.reason == "no key for the model: set SCRIPTED_KEY"


def test_a_program_that_is_not_there_is_said_with_how_to_install_it(agent: Agent) -> None:
    agent.environment["PATH"] = "/nowhere"
    assert agent.run([OVER]) == 1
    assert agent.reason.startswith("no agent program: scripted-agent is not on PATH; install it: ")


def test_a_rate_limit_is_waited_for_and_the_work_goes_on(tmp_path: Path) -> None:
    patient = Agent(tmp_path, speed=BRISK)
    limited: list[Step] = [SESSION, fails("rate limit", status=429, retry_after=60), {"exit": 1}]
    assert patient.run(limited, limited, [SESSION, says("here I am"), DONE, OVER]) == 0
    statuses = [str(said["message"]) for said in patient.posted.of("agent_status")]
    assert any(said.startswith("waits for the model (rate limited)") for said in statuses), statuses
    assert "waits_for_model" in {beat["last_event_type"] for beat in patient.posted.of("agent_heartbeat")}


def test_an_overloaded_model_is_waited_for_half_an_hour_and_no_longer(tmp_path: Path) -> None:
    patient = Agent(tmp_path, speed=FAST)
    assert patient.run([SESSION, fails("overloaded", status=529), {"exit": 1}]) == 1
    assert patient.reason.startswith("the model was not available: its server stayed overloaded")


def test_a_program_that_tries_for_ever_by_itself_is_ended_after_half_an_hour(tmp_path: Path) -> None:
    patient = Agent(tmp_path, speed=FAST)
    assert patient.run([SESSION, {"event": {"retry": "429 too many requests"}}, {"hang": True}]) == 1
    assert patient.reason.startswith("the model was not available: its rate limit")


def test_a_program_that_tries_a_wrong_key_again_and_again_is_ended(agent: Agent) -> None:
    again: Step = {"event": {"retry": "401 unauthorized"}}
    assert agent.run([SESSION, again, again, {"hang": True}]) == 1
    assert agent.reason.startswith("no key for the model: the model server refuses")


def test_a_session_that_is_shortened_in_vain_has_a_full_context(agent: Agent) -> None:
    compacted: Step = {"event": {"compacted": True}}
    assert agent.run([SESSION, compacted, compacted, compacted, {"hang": True}]) == 1
    assert agent.reason.startswith("the context of")


def test_a_stream_that_breaks_off_is_taken_up_again(tmp_path: Path) -> None:
    quick = Agent(tmp_path, speed=FAST)
    assert quick.run([SESSION, says("half"), {"half": '{"text": "and'}], [SESSION, DONE, OVER]) == 0
    assert quick.calls[1]["prompt"] == prompts.GO_ON


def test_a_program_that_always_ends_in_the_middle_of_a_turn_ends_the_agent(tmp_path: Path) -> None:
    quick = Agent(tmp_path, speed=FAST)
    assert quick.run([SESSION]) == 1
    assert quick.reason.startswith("scripted ended in the middle of its turns, again and again")


def test_answers_that_always_break_off_are_a_fault_of_the_model_however_much_of_each_arrived(tmp_path: Path) -> None:
    """Half an answer counted as progress once, so an agent asked for ever for the other half."""
    quick = Agent(tmp_path, speed=FAST)
    assert quick.run([SESSION, says("half"), fails("stream disconnected before completion"), {"exit": 1}]) == 1
    assert quick.reason.startswith("the model was not available: its answers broke off again and again")
    assert len(quick.calls) == 4


def test_a_program_that_asks_again_for_ever_when_answers_break_off_is_ended(tmp_path: Path) -> None:
    """As opencode does: an agent asked, and paid, until somebody stopped it."""
    quick = Agent(tmp_path, speed=FAST)
    breaks: list[Step] = [says("half"), fails("stream disconnected before completion")]
    assert quick.run([SESSION, *breaks, *breaks, *breaks, {"hang": True}]) == 1
    assert quick.reason.startswith("the model was not available: its answers broke off again and again")


def test_what_fails_after_the_last_report_spoils_nothing(agent: Agent) -> None:
    """An agent that had reported waited half an hour for its model, only to hear that it was done."""
    assert agent.run([SESSION, says("reported"), DONE, fails("overloaded", status=529), {"exit": 1}]) == 0
    assert len(agent.calls) == 1


def test_a_program_that_crashes_is_told_with_its_last_complaint(agent: Agent) -> None:
    assert agent.run([SESSION, {"error": "Segmentation fault"}, {"exit": 139}]) == 1
    assert agent.reason == "scripted failed (it said: exit code 139: Segmentation fault)"


def test_garbage_huge_lines_and_unknown_events_are_no_harm(agent: Agent) -> None:
    steps: list[Step] = [
        {"raw": "not JSON"},
        {"raw": "[1, 2]"},
        {"raw": "\x00\x01"},
        {"raw": "x" * (child.LONGEST_LINE + child.LONGEST_LINE // 2)},
        {"event": {"something": {"new": 1}}},
    ]
    assert agent.run([SESSION, *steps, says("fine"), DONE, OVER]) == 0
    assert "was left out" in agent.out.getvalue()


def test_mail_is_delivered_at_the_next_turn_and_acknowledged(agent: Agent) -> None:
    agent.letter(NUDGE, "WARN: no progress")
    assert agent.run([SESSION, says("working"), OVER], [SESSION, says("read it"), DONE, OVER]) == 0
    assert "WARN: no progress" in str(agent.calls[1]["prompt"])
    assert [ack["nudge_id"] for ack in agent.posted.of("nudge_acknowledged")] == [NUDGE]
    assert (agent.desk / "read" / f"{NUDGE}.json").exists()


def test_mail_of_a_turn_that_failed_is_delivered_again(tmp_path: Path) -> None:
    patient = Agent(tmp_path, speed=BRISK)
    patient.letter(NUDGE, "the message")
    turns: list[list[Step]] = [[SESSION, OVER], [fails("overloaded"), {"exit": 1}], [says("read it"), DONE, OVER]]
    assert patient.run(*turns) == 0
    assert ["the message" in str(call["prompt"]) for call in patient.calls] == [False, True, True]


def test_the_mayor_waits_for_mail_and_wakes_on_it(tmp_path: Path) -> None:
    mayor = Agent(tmp_path, role=Role.MAYOR)
    mayor.later(lambda: mayor.letter("m-1", "plan a parser"), once=lambda: len(mayor.posted.of("mayor_waiting")) == 1)
    end = mayor.later(mayor.stopped.set, once=lambda: len(mayor.posted.of("mayor_waiting")) == 2)
    assert mayor.run([SESSION, says("nothing to do"), OVER], [SESSION, says("planned"), OVER]) == 0
    end.join()
    assert "plan a parser" in str(mayor.calls[1]["prompt"])
    assert mayor.calls[1]["argv"] == ["--model", "none", "--resume", "s1"]


def test_a_polecat_that_only_waits_ends_after_two_minutes(tmp_path: Path) -> None:
    idle = Agent(tmp_path, speed=FAST)
    waits: Step = {"note": {"file": "waiting.json", "is": {"since": "2026-01-01T00:00:00.000Z"}}}
    assert idle.run([SESSION, waits, OVER]) == 1
    assert idle.reason == "idle: it only waited"


def test_a_changed_model_is_taken_at_the_next_turn(agent: Agent) -> None:
    def change() -> None:
        (agent.root / "agent-p" / "model.json").write_text('{"model": "better"}', encoding="utf-8")

    agent.later(change, once=lambda: "first" in agent.out.getvalue())
    changed = agent.root / "agent-p" / "model.json"
    wait_for_it = agent.later(lambda: agent.letter("m", "go on"), once=changed.exists)
    waits: Step = {"note": {"file": "waiting.json", "is": {"since": "2026-01-01T00:00:00.000Z"}}}
    assert agent.run([SESSION, says("first"), waits, OVER], [DONE, OVER], model="good") == 0
    wait_for_it.join()
    assert [call["argv"] for call in agent.calls] == [["--model", "good"], ["--model", "better", "--resume", "s1"]]


def test_a_stop_ends_the_program_and_everything_that_it_left(agent: Agent) -> None:
    context = str(agent.desk / "context.json")
    agent.later(agent.stopped.set, once=lambda: "working" in agent.out.getvalue())
    assert agent.run([SESSION, {"child": True}, says("working"), {"event": {"used": 1}}, {"hang": True}]) == 0
    assert list(supervisor.marked(context)) == []
    assert agent.posted.of("agent_usage")[-1]["input_tokens"] == 5


def test_a_prompt_of_any_length_reaches_the_program(agent: Agent) -> None:
    prompt = "word " * 200_000
    assert agent.run([SESSION, DONE, OVER], prompt=prompt) == 0
    assert agent.calls[0]["prompt"] == prompt


def test_no_secret_stands_in_log_or_transcript(agent: Agent) -> None:
    token = "ghp_" + "A1b2C3d4" * 5
    assert agent.run([SESSION, says(f"the key is {SECRET}, the token {token}"), {"error": SECRET}, DONE, OVER]) == 0
    for text in (agent.out.getvalue(), (agent.desk / TRANSCRIPT).read_text(encoding="utf-8")):
        assert SECRET not in text
        assert token not in text
        assert "[removed]" in text
    assert not any(SECRET in json.dumps(event) for event in agent.posted.events)


def test_no_secret_stands_in_the_reason_of_an_end(agent: Agent) -> None:
    assert agent.run([SESSION, fails(f"invalid api key {SECRET}", status=401), {"exit": 1}]) == 1
    assert agent.reason.startswith("no key for the model")
    assert SECRET not in agent.reason


def test_a_secret_is_removed_also_where_a_text_is_cut(agent: Agent) -> None:
    transcript = Transcript(agent.root, SystemClock(), Scrubber(), out=agent.out)
    token = "ghp_" + "A1b2C3d4" * 5
    for length in range(5_940, 6_010, 5):
        assert "ghp_" not in transcript.without_secrets("x " * (length // 2) + token)


def test_the_time_without_an_answer_is_half_an_hour_of_the_town(agent: Agent) -> None:
    clock = FakeClock(T)
    wait = ModelWait(clock, agent.stopped)
    wait.failed()
    assert wait.next_delay(AT_MOST) == AT_MOST
    assert wait.next_delay(AT_MOST + MS) is None
    clock.at += AT_MOST - MS
    assert not wait.is_over
    clock.at += MS
    assert wait.is_over
    wait.answered()
    assert wait.next_delay(None) == timedelta(seconds=5)
