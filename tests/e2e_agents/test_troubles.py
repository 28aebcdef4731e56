"""What goes wrong under a real coding agent: its model, its process, its diligence."""

import json
import os
import signal
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from infra.devstack.model_server.scripts import Failure, Refuse, Say, Script, Shell, Step, Trouble
from infra.devstack.model_server.workers import WORK, approves, block, implements, mayor_that_waits
from tests.e2e_agents.plans import LASTING, fails_for_good, held, in_spite_of_troubles
from tests.e2e_agents.real_towns import PROGRAMS, RealTown, a_real_town, driver

pytestmark = pytest.mark.agents

TITLE: Final = "Greet the reader"
EDIT: Final = "echo hello > greeting.txt"
REST: Final = (approves(TITLE), mayor_that_waits())
THREE_HOURS: Final = 1800.0
"""Seconds of patience for three hours of the town. A faster clock would declare programs lost that start on a busy machine."""

CLAUDE: Final = driver("claude")
"""The programs differ in their protocols, which other tests compare; the drivers do the rest in the same way for all of them."""


PASSES: Final = "Greet in spite of it all"
ENDS: Final = {
    "broken": Failure.BROKEN_STREAM,
    "no-credit": Failure.NO_CREDIT,
    "no-model": Failure.UNKNOWN_MODEL,
    "wrong-key": Failure.WRONG_KEY,
    "too-long": Failure.CONTEXT_TOO_LONG,
}
"""What ends the agent of each bead. The last of them is a verdict on the work, as is a refusal."""


def ends(bead_id: str, failure: Failure) -> Script:
    """An agent that works a little before its model fails for good."""
    return Script(bead_id, (WORK, f"The fate of {bead_id}"), (Step(Shell("true")), *fails_for_good(failure)))


def works_in_spite_of_troubles() -> Script:
    """An agent whose model fails before each of its steps in another way that passes, and whose first command fails."""
    work = implements(PASSES, EDIT)
    return replace(work, steps=(Step(Shell("echo no such thing >&2; exit 3")), *in_spite_of_troubles(work.steps)))


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_passes_costs_no_attempt_and_what_lasts_is_said_as_what_it_is(tmp_path: Path, program: str) -> None:
    """One attempt is all that a bead has here: a fault that counts fails it, one that does not leaves it open."""
    refuses = Script("refused", (WORK, "The fate of refused"), (Step(Shell("true")), Step(Refuse())))
    lasting = [ends(bead_id, failure) for bead_id, failure in ENDS.items()]
    # opencode sums up what became too long, and asks with other words, as if for the first time
    shortened = Script("shortened", ("The previous request exceeded",), fails_for_good(Failure.CONTEXT_TOO_LONG))
    scripts = [works_in_spite_of_troubles(), refuses, *lasting, approves(PASSES), mayor_that_waits(), shortened]
    config = {"max_dispatch_attempts": 1, "max_polecats_per_rig": 4}
    with a_real_town(tmp_path, driver(program), scripts, config=config) as town:
        # what ends well or is judged goes first: faults are tried again and again, and on a slow machine they take every place
        town.creates("passes", PASSES, priority="high")
        for bead_id in ("refused", *ENDS):
            priority = "high" if bead_id in ("refused", "too-long") else "medium"
            town.creates(bead_id, f"The fate of {bead_id}", priority=priority)
        said: dict[str, str] = {}

        def all_is_said() -> bool:
            said.update(why_agents_ended(town))
            return said.keys() >= {*ENDS, "refused"}

        town.until("every agent has said why it ended", all_is_said)
        town.until("the work is done in spite of it all", lambda: town.status("passes") == "closed")
        assert {
            bead_id: said[bead_id]
            for bead_id, failure in ENDS.items()
            if not said[bead_id].startswith(LASTING[failure])
        } == {}
        assert "refuse" in said["refused"]  # Codex shows nothing of a refusal, so its driver only supposes one
        stands = {bead_id: town.status(bead_id) for bead_id in said}
        assert {bead_id for bead_id, status in stands.items() if status == "failed"} == {"too-long", "refused"}
        assert {stands[bead_id] for bead_id in ("broken", "no-credit", "no-model", "wrong-key")} <= {
            "open",
            "in_progress",
        }


def why_agents_ended(town: RealTown) -> dict[str, str]:
    """Why the agent of each bead has ended, as the town knows it."""
    told = town.rows("SELECT bead_id, metadata FROM bead_events WHERE event_type = 'agent_exited'")
    return {bead_id: json.loads(data)["reason"] for bead_id, data in told}


def attempts(town: RealTown) -> int:
    """How many agents have been sent to the bead."""
    return int(town.value("SELECT dispatch_attempts FROM beads WHERE bead_id = 'greet'"))


@pytest.mark.long
def test_a_model_that_is_rate_limited_for_ten_minutes_costs_no_attempt(tmp_path: Path) -> None:
    limited = Trouble(Failure.RATE_LIMITED, until="the limit ends", retry_after_seconds=1)
    script = Script("work", (WORK, TITLE), (Step(block(0), trouble=limited), *implements(TITLE, EDIT).steps[1:]))
    with a_real_town(tmp_path, CLAUDE, [script, *REST]) as town:
        town.creates("greet", TITLE)
        town.until("the model is asked", lambda: town.model.asked_of("work"))
        began = town.clock.now()
        town.until("ten minutes are over", lambda: town.clock.now() - began > timedelta(minutes=10))
        town.model.release("the limit ends")
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert attempts(town) <= 1
        assert {each.failure for each in town.model.asked_of("work")[:2]} == {Failure.RATE_LIMITED}


def test_a_model_that_never_reports_is_asked_once_more_and_then_its_agent_says_why_it_ends(tmp_path: Path) -> None:
    script = Script("idler", (WORK, TITLE), (Step(Say("A fine day.")), Step(Say("Indeed, a fine day."))))
    with a_real_town(tmp_path, CLAUDE, [script, *REST]) as town:
        town.creates("greet", TITLE)
        town.until("the agent has said why it ends", lambda: reasons(town))
        assert "without a report" in reasons(town)[0]
        assert [each.turn for each in town.model.asked_of("idler")[:2]] == [0, 1]
        assert town.status("greet") != "closed"


@pytest.mark.long
def test_the_work_of_an_agent_that_is_killed_is_finished_by_another(tmp_path: Path) -> None:
    with a_real_town(tmp_path, CLAUDE, [held(implements(TITLE, EDIT), "it is killed"), *REST]) as town:
        town.creates("greet", TITLE)
        town.until("the agent is at work", lambda: town.model.is_waited_for("it is killed"))
        [first] = town.runtime.running()
        os.kill(first.pid, signal.SIGKILL)
        town.model.release("it is killed")
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert town.git("show", "main:greeting.txt") == "hello\n"


def reasons(town: RealTown) -> list[str]:
    """Why agents have ended, in their own words."""
    return [path.read_text(encoding="utf-8") for path in sorted(town.data.rglob("exit-reason.txt"))]


@pytest.mark.long
def test_an_agent_that_hangs_in_one_tool_call_is_stopped_and_one_that_works_for_three_hours_is_left_alone(
    tmp_path: Path,
) -> None:
    """The clock runs fast, and the same clock judges both. The town warns, asks for a decision after 1 h, and stops after 2 h.

    Claude Code ends a command itself after ten minutes of real time, which must be more than two hours of the town.
    """
    hangs = Script("hangs", (WORK, "Hang"), (Step(Shell("sleep 99999")),))
    works = Script("works", (WORK, "Work"), (Step(Shell("sleep 3")),) * 1000)
    with a_real_town(tmp_path, CLAUDE, [hangs, works, mayor_that_waits()], speed=14) as town:
        town.creates("hang", "Hang")
        town.creates("work", "Work")
        town.until("both are at work", lambda: town.model.asked_of("hangs") and town.model.asked_of("works"))
        began = town.clock.now()
        hanging, working = (agent_on(town, bead_id) for bead_id in ("hang", "work"))
        for tier in ("reconciler:warn", "reconciler:escalate"):
            town.until(
                f"the agent that hangs has got {tier}", partial(is_nudged, town, hanging, tier), seconds=THREE_HOURS
            )
        town.until("the agent that hangs is stopped", lambda: stopped(town, hanging), seconds=THREE_HOURS)
        over = began + timedelta(hours=3)
        town.until("three hours are over", lambda: town.clock.now() > over, seconds=THREE_HOURS)
        assert agent_on(town, "work") == working
        assert nudged(town, working) == set()
        assert not stopped(town, working)
        assert town.value("SELECT dispatch_attempts FROM beads WHERE bead_id = 'work'") == 1


def agent_on(town: RealTown, bead_id: str) -> str:
    """The agent that works on a bead."""
    return str(town.value("SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id = ?", bead_id))


def nudged(town: RealTown, agent_id: str) -> set[str]:
    """Who has nudged an agent."""
    return {source for (source,) in town.rows("SELECT source FROM agent_nudges WHERE agent_bead_id = ?", agent_id)}


def is_nudged(town: RealTown, agent_id: str, by: str) -> bool:
    """Whether an agent has got a nudge of this kind."""
    return by in nudged(town, agent_id)


def stopped(town: RealTown, agent_id: str) -> bool:
    """Whether the town has stopped an agent."""
    return bool(town.value("SELECT count(*) FROM outbox WHERE kind = 'stop_agent' AND subject = ?", agent_id))
