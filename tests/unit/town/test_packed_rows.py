"""Packed journal rows: whatever a tick read and decided comes back exactly, in much less room."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import canonical
from shared.town import packed_rows
from shared.town.packed_rows import packed, unpacked

texts = st.one_of(st.sampled_from(["", "a", "b", "é"]), st.text(max_size=5))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.just(1.0), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)
payloads = st.one_of(
    st.dictionaries(st.sampled_from(["x", "y", "z"]), values, max_size=3).map(canonical.dumps),
    st.sampled_from(["{", '{"b":1,"a":2}', '{"a":1,"a":1}', "[]", '{"a": 1}', "1e5", '{"a":"\\ud800"}', ""]),
)
events = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from([f"event-{number}" for number in range(6)]),
        "event_type": st.sampled_from(["agent_heartbeat", "agent_done", "unreadable"]),
        "agent_id": st.sampled_from([None, "toast", "moss"]),
        "bead_id": st.none(),
        "payload": payloads,
        "source": st.just("ingest"),
    },
    optional={
        "sender": st.sampled_from([{"scope": "container"}, {"scope": "agent", "agent": "toast", "generation": 3}])
    },
)
outcomes = st.sampled_from(["applied", "skipped: missing", "failed"])
states = st.fixed_dictionaries(
    {"status": st.sampled_from(["running", "exited"]), "exit_reason": st.sampled_from([None, "crashed"])},
    optional={"generation": st.sampled_from([None, 1, 2])},
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    new = draw(st.lists(events, max_size=8))
    told = [
        {"event_id": event["event_id"], "event_type": event["event_type"], "outcome": draw(outcomes)}
        for event in draw(st.permutations(new) if draw(st.booleans()) else st.just(new))
        if draw(st.integers(0, 9))
    ]
    told += draw(
        st.lists(st.just({"event_id": "derived", "event_type": "pr_auto_merge", "outcome": "applied"}), max_size=1)
    )
    seen = draw(st.one_of(st.just("none"), st.dictionaries(texts, states, max_size=4)))
    observations = seen if seen == "none" else {"agents": seen, "container": "up"}
    return {"new_events": new, "observations": observations, "due_at": None}, {"events": told, "actions": []}


@given(row=rows())
def test_what_was_packed_comes_back_exactly(row: tuple[dict[str, Any], dict[str, Any]]) -> None:
    stored = [json.loads(canonical.dumps(part)) for part in packed(*row)]  # as the image keeps it
    again = unpacked(*stored)
    assert [canonical.dumps(part) for part in again] == [canonical.dumps(part) for part in row]


@given(row=rows())
def test_a_row_in_full_of_an_older_release_is_left_alone(row: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert unpacked(*row) == row


def _beats(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    new = [
        {
            "event_id": f"{number:032x}~container",
            "event_type": "agent_heartbeat",
            "agent_id": f"{number:08x}-45b8-829b-a80d-e7ca49b7d069",
            "bead_id": None,
            "payload": canonical.dumps({"active_tools": [], "generation": 9, "last_event_type": "text"}),
            "source": "ingest",
            "created_at": "2026-01-11T12:30:00.000Z",
            "received_at": "2026-01-11T12:30:00.000Z",
            "sender": {"key": "k1", "scope": "container", "token": "c" * 16},
        }
        for number in range(count)
    ]
    told = [{"event_id": e["event_id"], "event_type": e["event_type"], "outcome": "applied"} for e in new]
    return {"new_events": new, "observations": "none"}, {"events": told}


def test_a_heartbeat_takes_little_more_than_its_id_and_its_agent() -> None:
    size = [sum(len(canonical.dumps(part)) for part in packed(*_beats(count))) for count in (100, 101)]
    assert size[1] - size[0] < 150


def test_a_long_payload_is_not_taken_apart_so_that_a_row_has_few_values() -> None:
    """A journal object with too many JSON values is refused by its reader."""
    payload = canonical.dumps({"numbers": [1] * packed_rows.LONGEST_PAYLOAD})
    row: tuple[dict[str, Any], dict[str, Any]] = (
        {"new_events": [{"event_id": "e", "event_type": "t", "payload": payload}]},
        {"events": []},
    )
    short = packed(*row)
    assert short[0]["events"][0]["+"]["payload"] == payload
    assert unpacked(*short) == row


@pytest.mark.parametrize(
    "inputs",
    [
        {"events": [{}]},
        {"events": [{"id": "e", "type": "t"}]},
        {"events": 5},
        {"events": [], "observations": {"running": []}},
    ],
)
def test_what_cannot_have_been_packed_is_refused(inputs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="packed"):
        unpacked(inputs, {"outcomes": []})


def test_an_outcome_of_an_event_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="outcome"):
        unpacked({"events": []}, {"outcomes": [[0, 1]]})
