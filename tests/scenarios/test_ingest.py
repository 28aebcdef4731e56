"""Scenarios 145 to 148: what is accepted, what is refused, and in which order a town takes it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.errors import Refused
from shared.intake import ingest
from shared.town.known_events import content_digest
from tests.scenarios.outside import outcomes_of
from tests.scenarios.stories import BOUNDARY, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, a_town, event, outcome_of
from tests.worlds import a_world

ID = "event-0001"


def answer_to(event_type: str, payload: dict[str, Any], **envelope: Any) -> int:
    """What ingest answers to one event."""
    return answer_to_body(
        json.dumps(
            {"event_id": ID, "event_type": event_type, "payload": payload, **envelope}, ensure_ascii=False
        ).encode()
    )


def answer_to_body(body: bytes) -> int:
    """What ingest answers to a body: 202 or the status of the refusal."""
    try:
        ingest.accept(body, received_at=T)
    except Refused as refused:
        return refused.status
    return 202


# --- the same event again ------------------------------------------------------------------------------


@scenario(145)
def test_an_event_that_is_sent_again_is_applied_once() -> None:
    town = a_town()
    sent = event("escalation_raised", {"title": "Help", "severity": "high"}, event_id=ID)
    reports = [
        town.tick(sent, sent),
        town.tick(sent, at=T + timedelta(seconds=5)),
        town.tick(sent, at=T + timedelta(days=6)),
    ]
    assert [outcomes(report) for report in reports] == [[("escalation_raised", "applied")], [], []]
    assert town.rows("SELECT COUNT(*) FROM escalation_metadata") == [(1,)]
    assert town.value("counters")["conflicts"] == 0


@scenario(145)
def test_the_same_id_with_other_content_is_refused_where_it_can_be_seen() -> None:
    one = {"event_id": ID, "event_type": "escalation_raised", "payload": {"title": "Help", "severity": "high"}}
    other = {**one, "payload": {"title": "Help!", "severity": "high"}}
    assert answer_to_body(json.dumps([one, other]).encode()) == 409
    assert answer_to_body(json.dumps([one, one]).encode()) == 202
    assert len(ingest.accept(json.dumps([one, one]).encode(), received_at=T).envelopes) == 1


@scenario(145)
@pytest.mark.parametrize(
    "other",
    [
        event("escalation_raised", {"title": "Other", "severity": "high"}, event_id=ID),
        event("escalation_raised", {"title": "Help", "severity": "high"}, event_id=ID, agent="p"),
        event("town_started", event_id=ID),
    ],
    ids=["payload", "sender", "type"],
)
@pytest.mark.parametrize("in_one_tick", [True, False])
def test_the_same_id_with_other_content_is_a_conflict_that_changes_nothing(other: Any, in_one_tick: bool) -> None:
    town = a_town()
    first = event("escalation_raised", {"title": "Help", "severity": "high"}, event_id=ID)
    ticks = [[first, other]] if in_one_tick else [[first], [other]]
    reports = [town.tick(*events, at=T + number * timedelta(seconds=5)) for number, events in enumerate(ticks)]
    assert [(seen.event_id, seen.outcome) for report in reports for seen in report.events] == [
        (ID, "applied"),
        (ID, "conflict"),
    ]
    (alert,) = [alert for report in reports for alert in report.alerts]
    assert (alert.kind, alert.extra["event_id"]) == ("event_conflict", ID)
    assert town.value("counters")["conflicts"] == 1
    assert town.one("town_events", ID, "event_type", "content_digest", "agent_id", "outcome") == (
        "escalation_raised",
        content_digest(first.payload),
        None,
        "applied",
    )
    assert town.rows("SELECT b.title FROM beads b WHERE b.type = 'escalation'") == [("Help",)]


# --- limits ---------------------------------------------------------------------------------------------


@scenario(146)
@pytest.mark.parametrize(("size", "answer"), [(65_535, 202), (65_536, 202), (65_537, 413)], ids=["-1", "exactly", "+1"])
def test_an_event_has_at_most_64_kib(size: int, answer: int) -> None:
    wish = {"bead": {"bead_id": "new", "type": "issue", "title": "x", "metadata": {"text": ""}}}
    shell = {"event_id": ID, "event_type": "bead_created", "payload": wish}
    wish["bead"]["metadata"]["text"] = "x" * (size - len(json.dumps(shell, separators=(",", ":"))))  # type: ignore[index]
    body = json.dumps(shell, separators=(",", ":")).encode()
    assert (len(body), answer_to_body(body)) == (size, answer)


@scenario(146)
@pytest.mark.parametrize("letter", ["x", "ä"])
@pytest.mark.parametrize(
    ("event_type", "payload", "field", "limit"),
    [
        ("agent_done", {}, "branch", 4_096),
        ("agent_done", {"branch": "x"}, "summary", 4_096),
        ("changes_requested", {}, "feedback", 4_096),
        ("agent_completed", {"status": "failed"}, "reason", 4_096),
        ("triage_resolved", {"action": "NUDGE"}, "notes", 4_096),
        ("bead_updated", {}, "title", 4_096),
        ("bead_updated", {}, "body", 32_768),
    ],
)
def test_texts_are_measured_in_utf_8(
    event_type: str, payload: dict[str, Any], field: str, limit: int, letter: str
) -> None:
    whole = letter * (limit // len(letter.encode()))
    answers = [
        answer_to(event_type, {**payload, field: text}, agent_id="p", bead_id="b")
        for text in (whole[:-1], whole, whole + "x")
    ]
    assert answers == [202, 202, 413]


@scenario(146)
@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("x" * 279, 202),
        ("x" * 280, 202),
        ("ä" * 280, 202),
        (" " + "x" * 280 + "\n", 202),
        ("x" * 281, 413),
        ("", 400),
        ("  ", 400),
    ],
    ids=["279", "280", "280 of two bytes", "280 after trimming", "281", "0", "blank"],
)
def test_a_status_message_has_1_to_280_characters(message: str, answer: int) -> None:
    assert answer_to("agent_status", {"message": message}, agent_id="p") == answer


@scenario(146)
def test_a_status_message_is_stored_as_it_was_meant() -> None:
    town = a_town().agent("p")
    report = town.tick(event("agent_status", {"message": "  building\n"}, agent="p"))
    assert outcomes(report) == [("agent_status", "applied")]
    assert town.one("agent_metadata", "p", "agent_status_message") == "building"


@scenario(146)
@pytest.mark.parametrize(
    ("age", "answer"),
    [(limits.EVENT_RETENTION - MS, 202), (limits.EVENT_RETENTION, 202), (limits.EVENT_RETENTION + MS, 410)],
    ids=BOUNDARY,
)
def test_an_event_that_could_be_a_repetition_of_a_forgotten_one_is_gone(age: timedelta, answer: int) -> None:
    assert answer_to("town_started", {}, occurred_at=(T - age).isoformat()) == answer


# --- decoding ---------------------------------------------------------------------------------------------

BEAT = '{"event_id":"event-0001","event_type":"agent_heartbeat","agent_id":"p","payload":%s}'
NEW = '{"event_id":"event-0001","event_type":"bead_created","payload":{"bead":%s}}'


@scenario(147)
@pytest.mark.parametrize(
    ("shell", "payload"),
    [
        (BEAT, '{"generation":1,"generation":1}'),
        (BEAT, '{"generation":NaN}'),
        (BEAT, '{"active_tools":[Infinity]}'),
        (BEAT, '{"generation":1e999}'),
        (BEAT, '{"generation":1.0}'),
        (BEAT, '{"generation":true}'),
        (BEAT, '{"generation":"1"}'),
        (BEAT, '{"generation":0}'),
        (BEAT, '{"generation":9223372036854775808}'),
        (BEAT, '{"generation":%s}' % ("0" * 64 + "1")),
        (BEAT, '{"active_tools":[0.%s]}' % ("1" * 63)),
        (BEAT, '{"last_event_type":"\\ud800"}'),
        (BEAT, '{"last_event_type":"\\u0000"}'),
        (BEAT, '{"last_event_type":1}'),
        (BEAT, '{"last_event_type":true}'),
        (BEAT, '{"last_event_at":"yesterday"}'),
        (BEAT, '{"last_event_at":1}'),
        (BEAT, '{"active_tools":"none"}'),
        (BEAT, '{"unknown":1}'),
        (BEAT, '{"active_tools":%s}' % ("[" * 31 + "]" * 31)),
        (BEAT, "[]"),
        (BEAT, "null"),
        (BEAT, "{} {}"),
        (NEW, '{"bead_id":"b","type":"issue"}'),
        (NEW, '{"bead_id":"b","type":"issue","title":"x","priority":"urgent"}'),
        (NEW, '{"bead_id":"b","type":"issue","title":"x","labels":"gt:held"}'),
        (NEW, '{"bead_id":"b","type":"issue","title":"x","labels":[1]}'),
        (NEW, '{"bead_id":"b","type":"merge_request","title":"x","branch":"x","pr_url":"http://x"}'),
    ],
)
def test_what_two_readers_could_take_for_two_things_is_refused(shell: str, payload: str) -> None:
    assert answer_to_body((shell % payload).encode()) == 400


@scenario(147)
def test_a_text_is_no_boolean() -> None:
    seen = {
        "pr_url": "https://x",
        "has_unresolved_comments": "true",
        "has_failing_checks": False,
        "has_unchecked_runs": False,
    }
    assert answer_to("pr_feedback_detected", seen, bead_id="m") == 400
    assert answer_to("pr_feedback_detected", {**seen, "has_unresolved_comments": True}, bead_id="m") == 202


@scenario(147)
def test_an_event_has_at_most_32_levels() -> None:
    def tools(levels: int) -> str:
        return '{"active_tools":%s}' % ("[" * levels + "]" * levels)

    # The envelope and its payload are two of the levels.
    assert [answer_to_body((BEAT % tools(levels)).encode()) for levels in (29, 30, 31)] == [202, 202, 400]


@scenario(147)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + (BEAT % "{}").encode(),
        b"17",
        b'"text"',
        b"[]",
        (BEAT % "{}")[:-1].encode(),
        (BEAT % "{}").replace("agent_heartbeat", "agent_teleported").encode(),
        (BEAT % "{}").replace('"agent_id":"p",', "").encode(),
        (BEAT % "{}").replace('"agent_id":"p"', '"agent_id":""').encode(),
        (BEAT % "{}").replace('"agent_id":"p"', '"agent_id":"%s"' % ("p" * 65)).encode(),
        (BEAT % "{}").replace('"agent_id":"p"', '"agent_id":"a\\nb"').encode(),
        (BEAT % "{}").replace("event-0001", "short").encode(),
        (BEAT % "{}").replace("event-0001", "with blank").encode(),
        (BEAT % "{}").replace('"agent_id"', '"source":"effect","agent_id"').encode(),
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    assert answer_to_body(body) == 400


@scenario(147)
def test_nobody_but_the_town_itself_sends_results_of_effects() -> None:
    result = {"effect_id": "e", "attempt": 1, "delivered": True}
    assert answer_to("mayor_notified", result) == 400
    assert answer_to("town_started", {}, event_id="res-e-1") == 400


# --- order ------------------------------------------------------------------------------------------------


@scenario(148)
def test_a_tick_takes_a_thousand_events_and_the_next_one_the_rest_in_order() -> None:
    world = a_world(a_town())
    names = [f"event-{number:05}" for number in range(1001)]
    for start in range(0, 1001, 91):
        world.post(*(event("nudge_timeout", event_id=name) for name in names[start : start + 91]), at=T + start * MS)
    world.clock.move(seconds=2)
    first = world.run().tick
    assert first is not None
    assert [seen.event_id for seen in first.events] == names[:1000]
    assert (first.next_due, first.metrics.events_drained, first.pending_after) == (world.clock.at, 1000, 1)
    assert world.inbox() != ()
    world.clock.move(seconds=5)
    second = world.run().tick
    assert second is not None
    assert [(seen.event_id, seen.outcome) for seen in second.events] == [(names[1000], "applied")]
    stored = world.town().rows("SELECT event_id FROM town_events ORDER BY seq")
    assert ([row[0] for row in stored], world.inbox()) == (names, ())


@scenario(148)
def test_events_of_the_same_moment_keep_the_order_in_which_they_were_received() -> None:
    world = a_world(a_town().bead("b", "issue", labels=["gt:held"]))
    told = [
        event("bead_updated", {"title": title}, bead="b", event_id=name)
        for name, title in (("z-first-", "One"), ("m-second", "Two"), ("a-third-", "Three"))
    ]
    world.post(*told)
    report = world.run().tick
    assert report is not None
    assert {seen.received_at for seen in report.input.new_events} == {"2026-01-10T12:00:00.000Z"}
    assert [seen.event_id for seen in report.events] == ["z-first-", "m-second", "a-third-"]
    assert outcomes_of(report, "bead_updated") == ["applied"] * 3
    assert world.town().one("beads", "b", "title") == "Three"


@pytest.mark.illegal_state
@scenario(148)
def test_what_waits_keeps_its_place_in_front_of_what_comes_later() -> None:
    town = a_town().bead("broken", "issue", metadata="[1]", labels=["gt:held"]).bead("b", "issue", labels=["gt:held"])
    town.tick(event("bead_updated", {"title": "x"}, bead="broken", event_id="waits-01"))
    report = town.tick(
        event("bead_updated", {"title": "y"}, bead="b", event_id="later-01"), at=T + timedelta(seconds=5)
    )
    assert [seen.event_id for seen in report.events] == ["waits-01", "later-01"]
    assert (outcome_of(report, "waits-01"), outcome_of(report, "later-01")) == ("failed", "applied")
