"""Why an agent ended reaches the next attempt at its bead (spec/data-model.md 3.20)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain import strict_json
from shared.domain.processes import ProcessStatus
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, event

FULL = "the context of model m is full; split the bead, or use a model with a larger context (it said: too long)"
NOTE = {"text": "It was merged nowhere.", "at": "2026-01-01T00:00:00.000Z", "by": "system"}


def at_work(**fields: Any) -> TownBuilder:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", dispatch_attempts=1, **fields)
    return town.agent("p", status="working", hook="b", last_dispatch_outcome="started")


def exits(town: TownBuilder, why: str | None, agent: str = "p") -> None:
    town.tick(seen={agent: ProcessStatus("exited", why, town.one("agent_metadata", agent, "generation"))})


def told_next(town: TownBuilder, bead: str = "b") -> str | None:
    """What the order of the next attempt says about the last one."""
    for minute in range(1, 30):
        town.tick(at=T + timedelta(minutes=minute))
        orders = [
            strict_json.stored(row[0]) for row in town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent'")
        ]
        of_bead = [order for order in orders if order["bead"]["id"] == bead]
        if of_bead:
            return of_bead[-1].get("previous_attempt")
    raise AssertionError(f"{bead} is not dispatched")


@scenario(522)
@pytest.mark.parametrize("why", [FULL, 'it ended without a report, twice; its last words: "I am stuck"', "x" * 9_999])
def test_the_next_attempt_is_told_why_the_last_one_ended(why: str) -> None:
    town = at_work()
    exits(town, why)
    kept = town.metadata("b")["last_words"]
    assert (kept["text"], kept["by"], kept["generation"]) == (why[:1_000], "p", 1)
    assert (told_next(town) or "").endswith(why[:1_000])


@scenario(522)
def test_both_the_towns_note_and_the_last_words_are_told_and_the_newest_words_count() -> None:
    town = at_work(metadata={"note_for_next": NOTE, "last_words": {"text": "an older reason", "at": "", "by": "q"}})
    exits(town, FULL)
    told = told_next(town) or ""
    assert told.startswith(NOTE["text"])
    assert told.endswith(FULL)
    assert "older" not in told


@scenario(522)
def test_the_next_refinery_is_told_too() -> None:
    town = a_town().bead("b", status="in_review").review("m", "in_progress", of="b", dispatch_attempts=1)
    town.agent("f", "refinery", "working", hook="m", last_dispatch_outcome="started")
    exits(town, FULL, "f")
    assert (told_next(town, "m") or "").endswith(FULL)


@scenario(523)
@pytest.mark.parametrize(
    "why",
    [
        *(None, "completed", "stopped", "killed by signal 9", "crashed (exit code 3)", "ended", "137", "exit code 1"),
        *("idle: it only waited", "could not be started: no space left", "Essential container exited (exit code 1)"),
    ],
)
def test_a_reason_that_says_only_how_a_process_ended_is_not_told(why: str | None) -> None:
    town = at_work()
    exits(town, why)
    assert "last_words" not in town.metadata("b")
    assert told_next(town) is None


@scenario(523)
@pytest.mark.parametrize("by", ["report", "cancelled"])
def test_work_that_is_done_forgets_them(by: str) -> None:
    town = at_work(metadata={"last_words": {"text": FULL, "at": "", "by": "q"}})
    said = {
        "report": event("agent_done", {"branch": "work"}, agent="p"),
        "cancelled": event("bead_cancelled", {"cancel_status": "closed"}, bead="b"),
    }
    town.tick(said[by])
    assert "last_words" not in town.metadata("b")


@scenario(523)
def test_after_an_agent_gave_up_the_reopened_bead_says_why() -> None:
    town = at_work()
    town.tick(
        event(
            "agent_completed", {"status": "failed", "reason": "the tests need a database", "generation": 1}, agent="p"
        )
    )
    assert town.status("b") == "failed"
    town.tick(event("bead_reopened", {}, bead="b", at=T + timedelta(seconds=5)), at=T + timedelta(seconds=5))
    assert (told_next(town) or "").endswith("the tests need a database")


@scenario(524)
@pytest.mark.parametrize(("after", "status"), [(timedelta(), "open"), (timedelta(milliseconds=1), "in_progress")])
def test_the_wait_after_a_fault_counts_from_the_exit(after: timedelta, status: str) -> None:
    gone = T + timedelta(minutes=30)
    town = at_work().update("beads", "b", last_dispatch_attempt_at=T)
    town.update("agent_metadata", "p", last_activity_at=gone)
    town.tick(seen={"p": ProcessStatus("exited", "the model was not available: overloaded", 1)}, at=gone)
    assert town.status("b") == "open"
    town.tick(at=gone + timedelta(seconds=30) + after)
    assert town.status("b") == status
