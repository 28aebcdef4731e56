"""What a model's provider may answer instead, as each real program meets it: waited for, or said as what it is. Without a town."""

import json
import os
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from infra.agents.drivers import child
from infra.agents.drivers.desk import EXIT_REASON, Desk
from infra.agents.drivers.known import driver_of
from infra.agents.drivers.pulse import Pulse
from infra.agents.drivers.reports import Reports
from infra.agents.drivers.scrubbing import Scrubber, secrets_in
from infra.agents.drivers.session import Means, Session
from infra.agents.drivers.transcript import Transcript
from infra.agents.town_agent.order import caller
from infra.devstack import git_seed
from infra.devstack.model_server.scripts import Failure, Refuse, Reply, Say, Script, Shell, Step
from infra.devstack.model_server.server import KEY, MODEL, ModelServer
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import ScaledClock
from shared.domain.orders import StartOrder
from shared.domain.states import Role
from tests.e2e_agents.plans import LASTING, PASSING, fails_for_good, in_spite_of_troubles
from tests.e2e_agents.real_towns import made
from tests.posted_events import PostedEvents

pytestmark = pytest.mark.agents
MOST: Final = (pytest.param("opencode", marks=pytest.mark.long), "claude", "codex")
"""Each program; opencode takes half a minute to a few for each trouble, because each start has data of its own."""

SPEED: Final = 20.0
PROMPT: Final = "Greet the reader"
REPORT: Final = Shell(
    """printf '{"event_type": "agent_done"}' > "$(dirname "$TOWN_AGENT_CONTEXT")/reported.json"; echo reported"""
)


@dataclass(frozen=True)
class Ended:
    """How a session ended, and what the model was asked."""

    code: int
    reason: str
    model: ModelServer
    posted: PostedEvents


def session(root: Path, program: str, *steps: Step, speed: float = SPEED, ends_after: timedelta | None = None) -> Ended:
    """One generation of an agent with this program, whose model answers these steps. It may be stopped after some time."""
    desk = root / "agent-p" / "00000001" / "agent"
    (desk / "messages").mkdir(parents=True)
    order = StartOrder(
        town_id="t", agent_id="p", generation=1, role=Role.POLECAT, prompt=PROMPT, branch="b", model=MODEL
    )
    context = desk / "context.json"
    context.write_text(json.dumps(order.as_json()), encoding="utf-8")
    other = Script("other", (), steps[-1:] * 20)  # such as a summary of what became too long
    model = ModelServer([Script("work", (PROMPT,), steps), other])
    around = {
        "PATH": os.environ["PATH"],
        "HOME": str(made(root / "home")),
        supervisor.MARK_VARIABLE: str(context),
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_API_KEY": KEY,
        **git_seed.OFFLINE,
    }
    clock, posted = ScaledClock.starting_now(speed=speed), PostedEvents()
    stopped = threading.Event()
    reports, scrub = Reports(caller(around), posted, clock), Scrubber(secrets_in(around))
    with model.serving(), (root / "out").open("w", encoding="utf-8") as out:
        transcript = Transcript(desk, clock, scrub, out=out)
        pulse = Pulse(reports, desk, transcript.note, scrub)
        means = Means(
            driver_of(program),
            Desk.of(context, scrub),
            order,
            around,
            reports,
            pulse,
            transcript,
            stopped=stopped,
            model_url=model.url,
        )
        pulse.start()
        if ends_after is not None:
            threading.Timer(ends_after.total_seconds() / speed, stopped.set).start()
        try:
            code = Session(means).run()
        finally:
            child.end_everything(str(context))
            pulse.finish()
    said = desk / EXIT_REASON
    return Ended(code, said.read_text(encoding="utf-8") if said.exists() else "", model, posted)


@pytest.mark.parametrize("program", MOST)
def test_work_goes_on_after_troubles_that_pass_and_after_a_command_that_fails(tmp_path: Path, program: str) -> None:
    replies: tuple[Reply, ...] = (Shell("exit 3"), Shell("true"), Shell("true"), REPORT, Say("I am done."))
    ended = session(tmp_path, program, *in_spite_of_troubles(map(Step, replies)))
    assert (ended.code, ended.reason) == (0, "")
    assert {each.failure for each in ended.model.asked} >= set(PASSING)


@pytest.mark.parametrize("failure", LASTING)
@pytest.mark.parametrize("program", MOST)
def test_a_trouble_that_lasts_is_said_as_what_it_is(tmp_path: Path, program: str, failure: Failure) -> None:
    ended = session(tmp_path, program, Step(Shell("true")), *fails_for_good(failure))
    assert ended.reason.startswith(LASTING[failure]), ended.reason
    assert ended.code == 1
    assert len(ended.model.asked) < 60


@pytest.mark.parametrize("program", MOST)
def test_a_refusal_is_said_as_one(tmp_path: Path, program: str) -> None:
    ended = session(tmp_path, program, Step(Shell("true")), *(Step(Refuse()),) * 5)
    assert (ended.code, "refuse" in ended.reason) == (1, True), ended.reason  # Codex shows nothing of a refusal


def silence(ended: Ended) -> list[tuple[timedelta, bool]]:
    """Of each heartbeat, how long the last event of the program was ago, and whether a tool was said to run."""
    beats = [each for each in ended.posted.events if each["event_type"] == "agent_heartbeat"]
    return [
        (
            datetime.fromisoformat(each["occurred_at"]) - datetime.fromisoformat(each["payload"]["last_event_at"]),
            bool(each["payload"]["active_tools"]),
        )
        for each in beats
    ]


@pytest.mark.long
@pytest.mark.parametrize("program", ["claude", "codex"])
def test_a_tool_that_hangs_hides_the_silence_of_its_program_for_a_quarter_of_an_hour_only(
    tmp_path: Path, program: str
) -> None:
    """From then on the town warns, after an hour it escalates, and after two it stops the agent (scenarios of G1 to G3)."""
    ended = session(tmp_path, program, Step(Shell("sleep 9999")), speed=60, ends_after=timedelta(minutes=45))
    seen = silence(ended)
    assert any(runs for _, runs in seen)
    assert not any(runs for silent, runs in seen if silent > timedelta(minutes=16))
    assert max(silent for silent, _ in seen) > timedelta(minutes=20)
