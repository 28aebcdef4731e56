"""Fifty times in every recording one thing is otherwise: an event lost, exchanged, changed, another input, a rule gone.

What is found is that very tick, and the table, key and column of the very thing.
"""

from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

import pytest

from shared.domain.limits import MILLISECOND
from shared.domain.times import from_text, to_text
from shared.engine import reconcile
from shared.history.differences import ABSENT, Difference
from shared.replay.recordings import making
from shared.replay.recordings.file_format import Recording
from shared.replay.recordings.verifying import Verified, verify
from shared.rules import RULES
from shared.town import database, migrations
from tests.recordings import golden
from tests.recordings.slices import given, slices, with_row

TIMES = 50
GENUINE = [name for name in golden.NAMES if name != golden.TAMPERED]

OURS = database.SCHEMA_VERSION
NEWER = OURS + 1


def found_in(verified: Verified) -> tuple[Difference, ...]:
    """What differs in the one tick that ran, causes first."""
    assert verified.divergence is not None
    assert verified.divergence.tick == verified.last_tick
    return verified.divergence.differences


def journal(verified: Verified) -> dict[str, tuple[Any, Any]]:
    """The differences in the tick's own journal row, by column."""
    key = str(verified.last_tick)
    return {
        each.column: (each.expected, each.got)
        for each in found_in(verified)
        if (each.table, each.key) == ("ticks", key)
    }


def stored(verified: Verified, event_id: str) -> dict[str, tuple[Any, Any]]:
    """The differences in the row of an event, by column."""
    return {
        each.column: (each.expected, each.got)
        for each in found_in(verified)
        if (each.table, each.key) == ("town_events", event_id)
    }


def leaves_a_row(one: Recording, event: dict[str, Any]) -> bool:
    """Whether the tick keeps this event; signs of life leave no row."""
    return ("town_events", event["event_id"], "") in one.ticks[0].changes


def an_event_is_lost(one: Recording, random: Random) -> None:
    events = one.ticks[0].row["inputs"]["new_events"]
    at = random.randrange(len(events))
    lost = verify(given(one, new_events=[*events[:at], *events[at + 1 :]]))
    # A tick that was given nothing at all may be a quiet one, which leaves no row.
    assert any(column.startswith((f"inputs.new_events[{at}]", "*")) for column in journal(lost))
    if leaves_a_row(one, events[at]):
        [(column, (expected, got))] = stored(lost, events[at]["event_id"]).items()
        assert (column, got) == ("*", ABSENT)
        assert events[at]["event_id"] in expected
        assert found_in(lost)[0].table == "town_events"


def two_events_are_exchanged(one: Recording, random: Random) -> None:
    events = list(one.ticks[0].row["inputs"]["new_events"])
    at = random.randrange(len(events) - 1)
    before, after = events[at : at + 2]
    events[at : at + 2] = [after, before]
    exchanged = verify(given(one, new_events=events))
    assert journal(exchanged)[f"inputs.new_events[{at}].event_id"] == (before["event_id"], after["event_id"])
    if leaves_a_row(one, before) and leaves_a_row(one, after):
        number, other = (stored(exchanged, event["event_id"])["seq"] for event in (before, after))
        assert (number[1], other[1]) == (other[0], number[0])


def an_event_is_changed(one: Recording, random: Random) -> None:
    events = list(one.ticks[0].row["inputs"]["new_events"])
    at = random.randrange(len(events))
    said = events[at]
    earlier = to_text(from_text(said["created_at"]) - MILLISECOND)
    events[at] = {**said, "created_at": earlier}
    changed = verify(given(one, new_events=events))
    assert journal(changed) == {f"inputs.new_events[{at}].created_at": (said["created_at"], earlier)}
    if leaves_a_row(one, said):
        assert stored(changed, said["event_id"]) == {"created_at": (said["created_at"], earlier)}
        assert found_in(changed)[0].table == "town_events"


def another_input_is_changed(one: Recording, random: Random) -> None:
    inputs = one.ticks[0].row["inputs"]
    name, value = random.choice(
        [
            ("more_waiting", not inputs["more_waiting"]),
            ("journal_published_to", inputs["journal_published_to"] - 1),
            ("restore_window_ms", inputs["restore_window_ms"] + 1),
            ("due_at", "2026-01-10T11:00:00.000Z"),
            ("settings", {"a": 1}),
        ]
    )
    column = "inputs.settings.a" if name == "settings" else f"inputs.{name}"
    expected, got = (None, 1) if name == "settings" else (inputs[name], value)
    assert journal(verify(given(one, **{name: value})))[column] == (expected, got)


def a_column_of_the_row_is_changed(one: Recording, random: Random) -> None:
    name = random.choice(["tick_id", "now", "code_version", "config_digest", "prev_image_digest"])
    old = dict(one.ticks[0].row)[name]
    new = to_text(from_text(old) + MILLISECOND) if name == "now" else f"{old}x"
    changed = verify(with_row(one, {name: new}))
    assert journal(changed)[name] == (old, new)
    if name == "tick_id":
        assert Difference("town", "tick_id", "value", f'"{old}"', f'"{new}"') in found_in(changed)


def what_the_tick_did_is_changed(one: Recording, random: Random) -> None:
    outputs = one.ticks[0].row["outputs"]
    name = random.choice(sorted(outputs["metrics"].keys() - {"actionsByType"}))
    forged = {**outputs, "metrics": {**outputs["metrics"], name: 77_777}}
    column = f"outputs.metrics.{name}"
    assert journal(verify(with_row(one, {"outputs": forged}))) == {column: (77_777, outputs["metrics"][name])}


def a_rule_is_gone(one: Recording, random: Random) -> None:
    actions = [each for each in one.ticks[0].row["outputs"]["actions"] if ":" not in each["rule"]]
    name = random.choice(actions)["rule"]
    fewer = tuple(rule for rule in RULES if rule.name != name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "decide", partial(reconcile.decide, rules=fewer))
        silent = verify(one)
    [parting] = silent.partings
    assert [each.rule for each in parting.only_in_history.actions].count(name) == sum(
        a["rule"] == name for a in actions
    )
    assert any(column.startswith(("outputs.actions", "*")) for column in journal(silent))
    first = found_in(silent)[0]
    assert first.table != "ticks"
    assert first.expected != first.got


def ways(one: Recording) -> Iterator[Any]:
    """What can be otherwise in a tick."""
    yield from (another_input_is_changed, a_column_of_the_row_is_changed, what_the_tick_did_is_changed)
    events = one.ticks[0].row["inputs"]["new_events"]
    if events:
        yield from (an_event_is_lost, an_event_is_changed)
    if len({event["event_id"] for event in events[:2]}) == 2:
        yield two_events_are_exchanged
    if any(":" not in each["rule"] for each in one.ticks[0].row["outputs"]["actions"]):
        yield a_rule_is_gone


@pytest.mark.parametrize("name", GENUINE)
def test_whatever_is_otherwise_is_named_by_tick_table_key_and_column(name: str) -> None:
    random = Random(name)
    for _ in range(TIMES):
        one = random.choice(slices(name))
        random.choice(list(ways(one)))(one, random)


@pytest.mark.parametrize("name", GENUINE)
def test_in_the_whole_recording_it_is_that_tick_and_none_before(name: str) -> None:
    whole = golden.read(name)
    at = Random(name).randrange(len(whole.ticks) // 2, len(whole.ticks))
    number = whole.ticks[at].row["tick_no"]
    more = not whole.ticks[at].row["inputs"]["more_waiting"]
    verified = verify(given(whole, at, more_waiting=more))
    assert verified.divergence is not None
    assert verified.divergence.tick == number
    assert Difference("ticks", str(number), "inputs.more_waiting", not more, more) in verified.divergence.differences


def test_a_tick_that_cannot_be_run_any_more_is_named_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("not today")

    monkeypatch.setattr(reconcile, "decide", broken)
    verified = verify(golden.read("drain"))
    assert verified.divergence is not None
    assert verified.divergence.reason == "the tick failed"
    assert verified.divergence.differences == (
        Difference("ticks", str(verified.first_tick), "*", "a tick", "RuntimeError: not today"),
    )


def a_new_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed code knows one migration more."""
    step = migrations.Migration(NEWER, "a_new_index", ("CREATE INDEX new_index ON beads (title)",))
    monkeypatch.setattr(database, "SCHEMA_VERSION", NEWER)
    for name in ("apply_pending", "pending"):
        monkeypatch.setattr(migrations, name, partial(getattr(migrations, name), migrations=(step,)))


def test_a_recording_from_before_a_change_of_the_schema_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    a_new_schema(monkeypatch)
    verified = verify(golden.read("drain"))
    assert verified.divergence is not None
    assert "a_new_index" in verified.divergence.reason
    assert verified.divergence.differences == (Difference("town", "schema_version", "value", OURS, NEWER),)


def test_a_tick_that_changed_the_schema_when_it_was_recorded_does_so_again(monkeypatch: pytest.MonkeyPatch) -> None:
    old = slices("drain")[3]
    a_new_schema(monkeypatch)
    base = old.base
    one = making.scrubbed(base, [old.ticks[0].row], [])
    assert one.ticks[0].changes[("town", "schema_version", "")] == {"value": str(NEWER)}
    verified = verify(one)
    assert verified.exact, verified.divergence
