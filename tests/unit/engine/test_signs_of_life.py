"""What the runtime says about a process that runs counts like a heartbeat of that generation."""

from datetime import timedelta
from typing import Any, Final

import pytest

from shared.domain.processes import ProcessStatus, SignOfLife
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from tests.scenarios.stories import outcomes
from tests.towns import T, TownBuilder, a_town, ago, event

SECOND: Final = timedelta(seconds=1)
SIGN: Final = SignOfLife(
    at=to_text(T),
    last_event_type="tool_began",
    last_event_at=to_text(T - 20 * SECOND),
    active_tools=("bash",),
    container_instance_id="one",
)
WATERMARK: Final = ("last_activity_at", "last_event_type", "last_event_at", "active_tools", "last_dispatch_outcome")


def at_work(*, generation: int = 2, **columns: Any) -> TownBuilder:
    given = {"last_activity_at": ago(seconds=300), "dispatched_at": ago(hours=1), **columns}
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", **{"status": "working", "hook": "b", "generation": generation, **given})


def running(sign: SignOfLife | None = SIGN, *, generation: int | None = 2) -> dict[str, ProcessStatus]:
    return {"p": ProcessStatus("running", generation=generation, sign=sign)}


def a_beat(*, generation: int = 2) -> Any:
    return event("agent_heartbeat", {**SIGN.said(), "generation": generation}, agent="p", at=T)


def test_a_look_says_the_same_as_a_heartbeat_does() -> None:
    looked, told = at_work(last_dispatch_outcome="started"), at_work(last_dispatch_outcome="started")
    report = looked.tick(seen=running())
    told.tick(a_beat(), seen=running(None))
    assert outcomes(report) == [("agent_heartbeat", "applied")]
    assert looked.one("agent_metadata", "p", *WATERMARK) == told.one("agent_metadata", "p", *WATERMARK)
    assert looked.value("container_instance_id") == told.value("container_instance_id") == "one"
    assert looked.doing("p") == ("working", "b")


def test_an_agent_whose_last_sign_of_life_is_old_is_not_lost_in_the_tick_that_hears_of_it() -> None:
    silent, answers = at_work(), at_work()
    silent.tick(seen=running(None))
    answers.tick(seen=running())
    assert (silent.doing("p")[0], answers.doing("p")[0]) == ("idle", "working")


def test_it_leaves_no_row() -> None:
    town = at_work()
    town.tick(seen=running())
    assert town.rows("SELECT event_id FROM town_events") == []


def test_it_is_the_age_of_the_last_activity_that_counts_if_the_server_has_a_wrong_clock() -> None:
    years_ago = SignOfLife(at="2019-01-01T00:00:30.000Z", last_event_at="2019-01-01T00:00:10.000Z")
    town = at_work()
    town.tick(seen=running(years_ago))
    assert town.one("agent_metadata", "p", "last_activity_at", "last_event_at") == (
        to_text(T),
        to_text(T - 20 * SECOND),
    )


def test_a_generation_that_was_replaced_is_not_alive_and_is_stopped_again() -> None:
    looked, told = at_work(generation=3), at_work(generation=3)
    report = looked.tick(seen=running())
    told.tick(a_beat(), seen=running(None))
    assert outcomes(report) == [("agent_heartbeat", "skipped: stale generation")]
    stops = "SELECT kind, payload FROM outbox ORDER BY kind"
    assert looked.rows(stops) == told.rows(stops) != []
    assert looked.one("agent_metadata", "p", "last_activity_at") == to_text(ago(seconds=300))


def test_another_container_instance_ends_a_drain() -> None:
    town = (
        at_work()
        .key("container_instance_id", "old")
        .key("drain", {"nonce": "n", "started_at": to_text(ago(minutes=1))})
    )
    town.tick(seen=running())
    assert (town.value("drain"), town.value("container_instance_id")) == (None, "one")


def test_what_the_agent_has_reported_by_then_has_the_last_word() -> None:
    """A refinery reports its end, which wakes the town, and its process needs another second to end."""
    town = a_town().bead("s", status="in_review").review("m", "in_progress", of="s", assignee_agent_bead_id="p")
    town.agent("p", "refinery", "working", hook="m", generation=2)
    over = {"status": "completed", "generation": 2}
    report = town.tick(event("agent_completed", over, agent="p"), seen=running())
    assert outcomes(report) == [("agent_heartbeat", "applied"), ("agent_completed", "applied")]
    assert town.one("agent_metadata", "p", "ended_generation") == 2


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(SignOfLife(at="now"), id="no time"),
        pytest.param(SignOfLife(at=to_text(T), last_event_at="yesterday"), id="no time of the last activity"),
        pytest.param(SignOfLife(at=to_text(T), last_event_type="x" * 5000), id="too long"),
        pytest.param(SignOfLife(at=to_text(T), last_event_type="\0"), id="not a text that a town stores"),
        pytest.param(SignOfLife(at=to_text(T), active_tools=("x" * 5000,)), id="too many tools"),
        pytest.param(SignOfLife(at=to_text(T), container_instance_id=""), id="no name of a container"),
    ],
)
def test_what_no_heartbeat_could_say_is_not_heard(sign: SignOfLife) -> None:
    town = at_work(last_activity_at=ago(seconds=10))
    report = town.tick(seen=running(sign))
    assert outcomes(report) == []
    assert town.doing("p") == ("working", "b")
    assert town.one("agent_metadata", "p", "last_activity_at") == to_text(ago(seconds=10))


def test_only_a_process_that_runs_gives_one() -> None:
    town = at_work(last_activity_at=ago(seconds=10))
    report = town.tick(seen={"p": ProcessStatus("stopping", generation=2, sign=SIGN)})
    assert ("agent_heartbeat", "applied") not in outcomes(report)


def test_the_journal_has_it_and_the_same_tick_runs_again() -> None:
    town = at_work()
    given = town.tick(seen=running()).input
    stored = given.as_json()
    assert stored["observations"]["agents"]["p"]["sign"] == {"at": SIGN.at, **SIGN.said()}
    record = {
        "tick_no": given.tick_no,
        "tick_id": given.tick_id,
        "now": to_text(given.now),
        "code_version": given.code_version,
        "sqlite_version": given.sqlite_version,
        "config_digest": given.config_digest,
        "prev_image_digest": given.prev_image_digest,
        "inputs": stored,
    }
    assert TickInput.from_record(record) == given


def test_a_status_without_one_is_stored_as_before() -> None:
    stored = at_work().tick(seen=running(None)).input.as_json()
    assert stored["observations"]["agents"]["p"] == {"status": "running", "exit_reason": None, "generation": 2}
