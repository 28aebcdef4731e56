"""W10: ways around the budgets. Each test is an attack that an agent with a stolen token of a living generation made.

It sent few but large events; reports that are never refused and change nothing; events that fail; events under ids that it had
used; and, with the container's token, heartbeats without end, behind which nobody's batches in the inbox were counted any more.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import limits
from shared.domain.limits import EVENT_BUDGET, FAILED_EVENT_RETRY, SIGNS_OF_LIFE, WAITING_BATCHES, WAITING_EVENTS
from shared.domain.senders import Sender
from shared.intake.crowding import UNSEEN_BATCHES, Share
from tests.security.holders import MAYOR, a_busy_town, agent, said, sent
from tests.security.test_wall_floods import THIEF, api, waiting
from tests.security.tokens import outcomes
from tests.towns import T, TownBuilder
from tests.unit.functions.test_events import EventsApi, sender

__all__ = ["api"]

_KIB = 1024
TOAST = agent("toast")


def large(number: int, kib: int = 60) -> dict[str, Any]:
    """A report of a polecat that no review concerns: it is skipped, and its row would stay for a week."""
    payload = {"feedback": "f", "files": ["x" * 4000] * (kib // 4)}
    return said("changes_requested", payload, by="toast", event_id=f"large-{number:05}")


def kept(town: TownBuilder) -> int:
    """The bytes of the payloads whose events the town keeps: the payloads themselves stay in the journal."""
    rows = town.rows("SELECT payload, content_digest FROM town_events WHERE sender IS NOT NULL")
    return sum(len(payload or town.payloads[digest]) for payload, digest in rows)


def test_few_large_events_fill_the_image_no_more_than_many_small_ones() -> None:
    town = a_busy_town()
    for start in (0, 10):
        town.tick(*[each for at in range(start, start + 10) for each in sent(TOAST, large(at))])
    assert kept(town) <= EVENT_BUDGET["agent"] * _KIB


@given(st.lists(st.integers(1, 15), min_size=1, max_size=60))
@settings(max_examples=5, deadline=None)
def test_whatever_their_sizes_a_sender_s_events_take_no_more_than_its_budget(sizes: list[int]) -> None:
    town = a_busy_town()
    said_by_toast = [
        event
        for at, kib in enumerate(sizes)
        for event in sent(
            TOAST,
            said("nudge_acknowledged", {"nudge_id": f"n{kib}"}, by="toast", event_id=f"small-{at:05}"),
            large(at, 4 * kib),
        )
    ]
    town.tick(*said_by_toast)
    assert kept(town) <= EVENT_BUDGET["agent"] * _KIB


def test_the_end_of_a_session_that_has_ended_is_told_once() -> None:
    town = a_busy_town()
    ends = [
        said("agent_completed", {"status": "completed", "reason": "x" * 4000}, by="mayor", event_id=f"end-{at:05}")
        for at in range(150)
    ]
    found = outcomes(town.tick(*[each for end in ends for each in sent(MAYOR, end)]))
    assert list(found.values()).count("applied") == 1
    assert set(found.values()) == {"applied", "skipped: already"}
    assert town.rows("SELECT COUNT(*) FROM bead_events WHERE event_type = 'agent_exited'") == [(1,)]
    assert kept(town) <= EVENT_BUDGET["coordinator"] * _KIB


def test_events_that_fail_are_counted_so_no_flood_of_poison_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVENT_BUDGET, "agent", 20)
    town = a_busy_town().update("agent_metadata", "toast", role="wizard")
    flood = [said("nudge_acknowledged", {"nudge_id": "n"}, by="toast", event_id=f"poison-{at:05}") for at in range(30)]
    reports = [town.tick(*[each for one in flood for each in sent(TOAST, one)])]
    reports += [town.tick(at=T + number * FAILED_EVENT_RETRY) for number in (1, 2)]
    poisoned = [each for report in reports for each in report.events if each.outcome == "poisoned"]
    assert len(poisoned) == EVENT_BUDGET["agent"]
    assert town.rows("SELECT COUNT(*) FROM town_events") == [(EVENT_BUDGET["agent"],)]


def test_a_flood_of_conflicts_is_one_alert_that_names_its_sender() -> None:
    town = a_busy_town()

    def same_ids(content: str) -> list[Any]:
        events = [
            said("nudge_acknowledged", {"nudge_id": content}, by="toast", event_id=f"same-{at:05}") for at in range(50)
        ]
        return [each for event in events for each in sent(TOAST, event)]

    town.tick(*same_ids("a"))
    reports = [town.tick(*same_ids("b")), town.tick(*same_ids("c"))]
    assert town.value("counters")["conflicts"] == 100
    [alert] = [each for report in reports for each in report.alerts]
    assert (alert.kind, alert.extra["agent"], alert.extra["events"]) == ("event_conflict", "toast", 50)
    assert alert.fingerprint == ("event_conflict", "agent", "toast")


def status(number: int, kib: int) -> dict[str, Any]:
    event = large(number, kib) | {"event_type": "bead_created"}
    bead = {"bead_id": f"b{number}", "type": "issue", "title": "t", "body": "x" * (kib * _KIB)}
    return event | {"payload": {"bead": bead}}


def test_a_few_large_batches_do_not_make_everybody_s_request_read_megabytes(api: EventsApi) -> None:
    answers = [api.post([status(at * 5 + each, 30) for each in range(5)], claims=THIEF).status for at in range(6)]
    assert answers == [202] + [429] * 5
    assert waiting(api) == 1


def test_the_heartbeats_of_a_stolen_container_token_end_somewhere(api: EventsApi) -> None:
    box = Sender("container")
    most = SIGNS_OF_LIFE * WAITING_BATCHES
    beats = [Share(box, 1, signs_of_life=True).mark for _ in range(most)]
    for number, mark in enumerate(beats):
        api.world.objects.put(f"towns/one/inbox/1768046400000-{number:032}{mark}.json", b"{}")

    def beat(number: int) -> int:
        event = {"event_id": f"beat-{number:04}", "event_type": "agent_heartbeat", "agent_id": "toast", "payload": {}}
        return api.post(event, claims=sender("container")).status

    answers = [beat(number) for number in range(UNSEEN_BATCHES + 5)]
    assert answers == [202] * UNSEEN_BATCHES + [429] * 5
    ended = {
        "event_id": "ends-0001",
        "event_type": "agent_completed",
        "agent_id": "toast",
        "payload": {"status": "failed"},
    }
    assert api.post(ended, claims=sender("container")).status == 202
    processes = 25
    assert (
        most + processes * UNSEEN_BATCHES + WAITING_EVENTS["agent"] < 999
    )  # so many names one listing shows: nobody else is hidden behind them


def test_a_heartbeat_names_tools_and_does_not_carry_freight(api: EventsApi) -> None:
    for tools, answer in ((["x" * 60_000], 413), (["x" * 4000], 202), ([["x"] * 2000], 413)):
        beat = {
            "event_id": f"beat-{len(str(tools)):06}",
            "event_type": "agent_heartbeat",
            "agent_id": "toast",
            "payload": {"active_tools": tools},
        }
        assert api.post(beat, claims=THIEF).status == answer


def test_an_event_counts_once_for_each_started_kib() -> None:
    for size, weight in ((0, 1), (1, 1), (_KIB, 1), (_KIB + 1, 2), (64 * _KIB, 64)):
        assert limits.weight("x" * size) == weight
    assert limits.weight("ä" * _KIB) == 2
