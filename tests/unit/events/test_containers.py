from typing import Any

import pytest

from shared.actions.base import Action
from shared.domain.processes import ProcessState, ProcessStatus
from shared.domain.states import EventSource
from shared.events import containers
from shared.town import inbox
from tests.unit.events.builders import TOWN_ID, ATown, a_town, ago

NO_ACTION: tuple[Action, ...] = ()


def a_working_polecat(**columns: Any) -> ATown:
    given = {"status": "working", "generation": 2, "last_dispatch_bead_id": "b1", "last_activity_at": ago(minutes=10)}
    return (
        a_town()
        .with_bead("b1", status="in_progress", assignee_agent_bead_id="p1")
        .with_agent("p1", hook="b1", **{**given, **columns})
    )


def observe(town: ATown, status: ProcessState, *, generation: int | None = 2, reason: str | None = None) -> list[str]:
    """Observe p1 once; the statuses of the events that wait now."""
    containers.observe(town.town, [("p1", ProcessStatus(status, reason, generation))])
    return [fact.payload for fact in inbox.pending(town.town, after=-1)]


def test_a_process_that_runs_is_never_an_event() -> None:
    town = a_working_polecat()

    assert [observe(town, "running") for _ in range(1_000)] == [[]] * 1_000


def test_a_process_that_stays_exited_is_one_event() -> None:
    town = a_working_polecat()

    waiting = [observe(town, "exited", reason="signal 9") for _ in range(10)]

    assert waiting[-1] == ['{"exit_reason":"signal 9","generation":2,"status":"exited"}']
    [event] = inbox.pending(town.town, after=-1)
    assert (event.source, event.agent_id) == ("observation", "p1")


def test_each_other_status_is_news_and_running_begins_a_new_episode() -> None:
    town = a_working_polecat()

    statuses: list[ProcessState] = ["stopped", "error", "unknown", "unknown", "running", "unknown"]
    waiting = [observe(town, status) for status in statuses]

    assert [payload.split('"')[-2] for payload in waiting[-1]] == ["stopped", "error", "unknown", "unknown"]


@pytest.mark.parametrize("status", ["idle", "dead", "waiting"])
def test_an_agent_that_does_not_work_is_not_recorded(status: str) -> None:
    assert observe(a_working_polecat(status=status), "exited") == []


@pytest.mark.parametrize(
    ("last_activity_at", "recorded"),
    [(ago(milliseconds=179_999), False), (ago(seconds=180), True), (ago(milliseconds=180_001), True), (None, True)],
)
def test_a_process_is_not_missed_before_180_seconds(last_activity_at: str | None, recorded: bool) -> None:
    town = a_working_polecat(last_activity_at=last_activity_at)

    assert bool(observe(town, "not_found")) is recorded
    assert town.agent("p1")["observed_status"] == ("not_found" if recorded else None)


def test_an_earlier_process_says_nothing_of_the_newest_one() -> None:
    town = a_working_polecat(observed_status="stopped")

    assert observe(town, "exited", generation=1) == []
    assert observe(town, "running", generation=1) == []
    assert town.agent("p1")["observed_status"] == "stopped"


@pytest.mark.parametrize(("outcome", "recorded"), [("pending", 0), ("started", 1), (None, 1)])
def test_a_status_without_a_generation_waits_for_the_answer_to_the_dispatch(outcome: str | None, recorded: int) -> None:
    town = a_working_polecat(last_dispatch_outcome=outcome)

    assert len(observe(town, "exited", generation=None)) == recorded


def test_an_observation_of_an_agent_that_is_gone_is_nothing() -> None:
    assert observe(a_town(), "exited") == []


def test_an_unreadable_agent_is_reported_and_nobody_else_suffers() -> None:
    town = a_working_polecat(last_activity_at="yesterday")

    assert observe(town, "exited") == []
    assert ("agent_metadata", "p1") in town.town.unreadable


def test_a_long_exit_reason_is_cut_so_that_the_event_can_be_read() -> None:
    town = a_working_polecat()

    (payload,) = observe(town, "exited", reason="ä\0" * 4_096)

    assert len(payload.encode()) < 4_200
    assert hears_observation(town, {"status": "exited", "exit_reason": "ä" * 2_048}) == "applied"


def hears_observation(town: ATown, payload: dict[str, object]) -> str:
    return town.outcome("container_status", payload, agent_id="p1", source=EventSource.OBSERVATION)


def test_an_observed_exit_is_not_filtered_by_its_own_mark() -> None:
    town = a_working_polecat(last_dispatch_outcome="started")
    observe(town, "exited")

    assert hears_observation(town, {"status": "exited", "generation": 2}) == "applied"

    agent = town.agent("p1")
    assert (agent["status"], agent["current_hook_bead_id"]) == ("idle", "b1")
    assert (agent["last_dispatch_outcome"], agent["observed_status"]) == ("lost", "exited")
    assert town.bead("b1")["last_dispatch_failed_at"] == "2026-01-10T12:00:00.000Z"
    assert town.audit("b1") == ["agent_exited"]


def test_an_agent_that_was_seen_alive_did_not_fail_to_start() -> None:
    town = a_working_polecat(last_dispatch_outcome="alive")

    town.hears("container_status", {"status": "exited"}, agent_id="p1")

    assert town.agent("p1")["last_dispatch_outcome"] == "alive"
    assert town.bead("b1")["last_dispatch_failed_at"] is None


def test_a_heartbeat_of_the_same_drain_saves_an_agent_that_was_not_found() -> None:
    town = a_working_polecat(last_activity_at=ago(minutes=10))
    assert len(observe(town, "not_found")) == 1
    town.hears("agent_heartbeat", agent_id="p1")

    assert hears_observation(town, {"status": "not_found", "generation": 2}) == "applied"

    assert town.agent("p1")["status"] == "working"


@pytest.mark.parametrize("status", ["starting", "stopping", "stopped", "failed", "error", "unknown"])
def test_only_exited_and_not_found_end_the_work_of_a_polecat(status: str) -> None:
    town = a_working_polecat()

    assert town.outcome("container_status", {"status": status}, agent_id="p1") == "applied"

    assert (town.agent("p1")["status"], town.agent("p1")["observed_status"]) == ("working", status)


@pytest.mark.parametrize("status", ["exited", "not_found", "stopped", "failed", "error"])
def test_a_mayor_is_idle_when_its_process_ends_in_any_way(status: str) -> None:
    town = a_town().with_agent("m", role="mayor", status="working")

    town.hears("container_status", {"status": status}, agent_id="m")

    assert town.agent("m")["status"] == "idle"


def test_a_stalled_agent_that_exits_is_idle_and_no_longer_stalled() -> None:
    town = a_working_polecat(status="stalled", stalled_at=ago(minutes=5))

    town.hears("container_status", {"status": "exited"}, agent_id="p1")

    assert (town.agent("p1")["status"], town.agent("p1")["stalled_at"]) == ("idle", None)


@pytest.mark.parametrize(("review_status", "hook"), [("closed", None), ("failed", None), ("in_progress", "m1")])
def test_a_refinery_keeps_only_a_live_review(review_status: str, hook: str | None) -> None:
    town = a_town().with_review("m1", status=review_status)
    town.with_agent("f1", role="refinery", hook="m1", status="working", checkpoint="{}")

    town.hears("container_status", {"status": "exited"}, agent_id="f1")

    assert (town.agent("f1")["status"], town.agent("f1")["current_hook_bead_id"]) == ("idle", hook)
    assert town.agent("f1")["checkpoint"] == (None if hook is None else "{}")


def test_pushed_statuses_pass_the_same_filter() -> None:
    town = a_working_polecat()
    pushed = ["stopped", "stopped", "running", "stopped"]

    outcomes = [town.outcome("container_status", {"status": status}, agent_id="p1") for status in pushed]

    assert outcomes == ["applied", "skipped: filtered", "skipped: filtered", "applied"]


def test_a_pushed_exit_of_an_idle_agent_is_filtered() -> None:
    town = a_working_polecat(status="idle")
    before = town.everything()

    assert town.outcome("container_status", {"status": "exited"}, agent_id="p1") == "skipped: filtered"

    assert town.everything() == before


def test_a_pushed_status_of_an_older_generation_is_stale_and_leaves_no_mark() -> None:
    town = a_working_polecat()

    payload = {"status": "exited", "generation": 1}
    assert town.outcome("container_status", payload, agent_id="p1") == "skipped: stale generation"

    assert (town.agent("p1")["status"], town.agent("p1")["observed_status"]) == ("working", None)


def test_a_status_of_an_agent_that_never_was_is_missing() -> None:
    assert a_town().outcome("container_status", {"status": "exited"}, agent_id="p1") == "skipped: missing"


# container_eviction and container_ready


def test_an_eviction_begins_a_drain_whose_nonce_follows_from_the_event() -> None:
    town = a_town()

    result = town.hears("container_eviction")

    assert (result.outcome.text, result.returns) == ("applied", NO_ACTION)
    nonce = containers.drain_nonce(TOWN_ID, "event-0001")
    assert town.town.keys.stored("drain") == {"nonce": nonce, "started_at": "2026-01-10T12:00:00.000Z"}


def test_a_newer_eviction_replaces_the_older_drain() -> None:
    town = a_town().with_key("drain", {"nonce": "older", "started_at": ago(minutes=6)})

    town.hears("container_eviction")

    assert town.town.keys.stored("drain")["started_at"] == "2026-01-10T12:00:00.000Z"
    assert town.outcome("container_ready", {"nonce": "older"}) == "rejected: wrong nonce"


def test_the_right_nonce_ends_the_drain_and_again_does_no_harm() -> None:
    town = a_town().with_key("drain", {"nonce": "n1", "started_at": ago(minutes=1)})

    assert town.outcome("container_ready", {"nonce": "n1"}) == "applied"
    assert town.town.keys.stored("drain") is None
    assert town.outcome("container_ready", {"nonce": "anything"}) == "applied"


def test_a_wrong_nonce_leaves_the_town_draining() -> None:
    town = a_town().with_key("drain", {"nonce": "n1", "started_at": ago(minutes=1)})

    assert town.outcome("container_ready", {"nonce": "n2"}) == "rejected: wrong nonce"

    assert town.town.keys.stored("drain") is not None


def test_a_fault_that_ends_several_processes_is_told_once() -> None:
    town = a_working_polecat(last_activity_at=ago(minutes=10))
    town.with_bead("b2", status="in_progress", assignee_agent_bead_id="p2")
    town.with_agent("p2", hook="b2", status="working", generation=2, last_dispatch_bead_id="b2")
    ended = {"status": "exited", "exit_reason": "no key for the model", "generation": 2}

    told = [town.hears("container_status", ended, agent_id=agent_id).returns for agent_id in ("p1", "p2")]

    assert [[action.type for action in actions] for actions in told] == [["notify_mayor"], []]
    assert [town.bead(bead_id)["status"] for bead_id in ("b1", "b2")] == ["open", "open"]
