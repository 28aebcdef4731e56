"""Faults of an agent's surroundings use up no attempt, and people are told once (spec/data-model.md 3.19)."""

from datetime import datetime, timedelta

import pytest

from shared.domain.processes import ProcessStatus
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, event

NO_KEY = "no key for the model: set ANTHROPIC_API_KEY"


def exits(town: TownBuilder, agent: str, why: str, *, at: datetime, generation: int | None = None) -> None:
    number = generation or town.one("agent_metadata", agent, "generation")
    town.tick(seen={agent: ProcessStatus("exited", why, number)}, at=at)


def at_work(*beads: str) -> TownBuilder:
    town = a_town()
    for number, bead in enumerate(beads):
        town.bead(bead, status="in_progress", assignee_agent_bead_id=f"p{number}", dispatch_attempts=1)
        town.update("beads", bead, last_dispatch_attempt_at=T)
        town.agent(f"p{number}", status="working", hook=bead, last_dispatch_outcome="started")
    return town


def escalations(town: TownBuilder) -> list[tuple[str, str]]:
    return town.rows(
        "SELECT b.title, b.status FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id "
        "WHERE e.category = 'no_agent_program' ORDER BY b.bead_id"
    )


@scenario(520)
def test_a_missing_key_uses_up_no_attempt_and_is_told_once() -> None:
    town = at_work("b", "c")
    exits(town, "p0", NO_KEY, at=T + timedelta(seconds=1))
    exits(town, "p1", NO_KEY, at=T + timedelta(seconds=2))
    for bead in ("b", "c"):
        assert town.one("beads", bead, "status", "dispatch_attempts", "last_dispatch_failed_at") == ("open", 0, None)
        assert town.waits(T + timedelta(seconds=3))[bead].reason == "no_agent_program"
    assert escalations(town) == [(f"Agents cannot work: {NO_KEY}", "open")]
    [(noted,)] = town.rows("SELECT metadata FROM bead_events WHERE event_type = 'agent_exited' AND bead_id = 'b'")
    assert NO_KEY in noted


@scenario(520)
def test_it_is_tried_again_ever_more_rarely_and_never_fails() -> None:
    town, tries = at_work("b"), 0
    for minute in range(4 * 60):
        for (agent,) in town.rows("SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id = 'b'"):
            tries += 1
            exits(town, agent, NO_KEY, at=T + timedelta(minutes=minute, seconds=1))
        town.tick(at=T + timedelta(minutes=minute, seconds=30))
    assert town.status("b") in ("open", "in_progress")
    assert 10 <= tries <= 14
    assert len(escalations(town)) == 1


@scenario(520)
def test_a_refinery_that_could_not_work_gives_its_review_back() -> None:
    town = (
        a_town()
        .bead("b", status="in_review")
        .review("m", "in_progress", of="b", dispatch_attempts=1, last_dispatch_attempt_at=T)
    )
    town.agent("f", "refinery", "working", hook="m", last_dispatch_outcome="started")
    exits(town, "f", "the model was not available for 30 minutes", at=T)
    assert (town.status("m"), town.one("beads", "m", "dispatch_attempts")) == ("open", 0)


@scenario(520)
@pytest.mark.parametrize("why", ["out of memory", "exit code 1", None])
def test_any_other_exit_is_counted_as_ever(why: str | None) -> None:
    town = at_work("b")
    town.tick(seen={"p0": ProcessStatus("exited", why, 1)})
    assert town.one("beads", "b", "dispatch_attempts") == 1
    assert (town.doing("p0"), escalations(town)) == (("idle", "b"), [])


@scenario(521)
@pytest.mark.parametrize("by", ["usage", "done"])
def test_an_agent_that_works_ends_the_fault(by: str) -> None:
    town = at_work("b")
    exits(town, "p0", NO_KEY, at=T + timedelta(seconds=1))
    later = T + timedelta(minutes=2)
    town.tick(at=later)
    [(agent, number)] = town.rows("SELECT bead_id, generation FROM agent_metadata WHERE current_hook_bead_id = 'b'")
    said = {
        "usage": event(
            "agent_usage",
            {"model": "m", "input_tokens": 5, "output_tokens": 1, "cached_tokens": 0, "generation": number},
            agent=agent,
            at=later,
        ),
        "done": event(
            "agent_done", {"branch": town.metadata("b")["branch"], "generation": number}, agent=agent, at=later
        ),
    }
    town.tick(said[by], at=later + timedelta(seconds=30))
    town.tick(at=later + timedelta(seconds=60))
    assert not {"fault", "fault_since", "fault_tries"} & town.metadata("b").keys()
    assert [status for _, status in escalations(town)] == ["closed"]


@scenario(520)
def test_a_bead_that_has_ended_is_not_opened_again_for_an_agent_that_could_not_work() -> None:
    town = at_work("b").update("beads", "b", status="closed")
    exits(town, "p0", NO_KEY, at=T + timedelta(seconds=1))
    assert town.one("beads", "b", "status", "dispatch_attempts", "metadata") == ("closed", 1, "{}")
    assert (town.doing("p0"), escalations(town)) == (("idle", None), [])
