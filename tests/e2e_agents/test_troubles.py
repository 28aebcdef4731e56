"""What goes wrong under a real coding agent: its model, its process, its diligence."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from infra.devstack.model_server.scripts import Failure, Say, Script, Shell, Step, Trouble
from infra.devstack.model_server.workers import WORK, approves, block, implements, mayor_that_waits
from tests.e2e_agents.real_towns import RealTown, a_real_town, driver

pytestmark = pytest.mark.agents

TITLE: Final = "Greet the reader"
EDIT: Final = "echo hello > greeting.txt"
REST: Final = (approves(TITLE), mayor_that_waits())
CLAUDE: Final = driver("claude")
"""The programs differ in their protocols, which other tests compare; the drivers do the rest in the same way for all of them."""


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
    waits = Step(Shell("true"), waits_for="it is killed")
    script = implements(TITLE, EDIT)
    steps = (*script.steps[:2], waits, *script.steps[2:])
    with a_real_town(tmp_path, CLAUDE, [Script("work", script.words, steps), *REST]) as town:
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
