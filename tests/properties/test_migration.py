"""A town goes through a file and is the same town, but for the bookkeeping of the place that it left."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.images import rewriting
from shared.moving import export, foreign_rows, importing
from shared.moving.importing import ImportedImage
from shared.moving.transfer import of_lines
from shared.town import database
from tests.properties import steps
from tests.properties.amount import examples
from tests.properties.life import Life
from tests.properties.outside import Answers
from tests.properties.starts import NOTHING_LEGAL, STARTS, begin
from tests.properties.steps import Live, Post, Step
from tests.towns import TOWN, T, TownBuilder

LATER = T + timedelta(days=1)
LEGAL = tuple(name for name in STARTS if name != NOTHING_LEGAL)
Row = dict[str, Any]


def exported(image: bytes) -> bytes:
    with database.opened(image) as sql:
        return "".join(f"{line}\n" for line in export.lines(sql)).encode()


def imported(body: bytes, *, town_id: str = TOWN) -> ImportedImage:
    return importing.imported(town_id, of_lines(body), now=LATER)


def rows_of(body: bytes) -> list[tuple[str, Row]]:
    return [(line["table"], line["row"]) for line in map(json.loads, body.splitlines()[1:])]


def as_an_import_changes(table: str, row: Row, before: list[tuple[str, Row]]) -> Row:
    """The bookkeeping of the old place, as the documentation of `importing` tells it, said a second time."""
    keys = {each["key"]: each["value"] for name, each in before if name == "town"}
    if table == "town":
        anew = dict.fromkeys(
            ("drain", "container_instance_id", "last_token_refresh_at", "next_due_at", "clock"), "null"
        )
        return {**row, "value": {**anew, "paused": "true"}.get(row["key"], row["value"])}
    if keys["paused"] == "true":
        return row
    if table == "agent_metadata":
        used = [each["generation"] for name, each in before if name == "outbox" and each["subject"] == row["bead_id"]]
        nobody = max([row["generation"], *used]) + 1  # a generation that never ran counts as ended
        return {**row, "generation": nobody, "ended_generation": nobody}
    if table == "outbox" and row["state"] in ("pending", "claimed"):
        nothing = dict.fromkeys(("claim", "claimed_until", "not_before"))
        return {**row, **nothing, "state": "expired", "finished_at": to_text(LATER)}
    return row


def require_the_same_town(image: bytes) -> None:
    """Export, import, export: equal but for the bookkeeping; and once more: equal to the byte."""
    first = exported(image)
    there = imported(first)
    assert there.not_read == ()
    second = exported(there.image)
    before = rows_of(first)
    assert rows_of(second) == [(table, as_an_import_changes(table, row, before)) for table, row in before]
    assert exported(imported(second).image) == second
    from_file = importing.imported(TOWN, foreign_rows.of_database(image), now=LATER)
    assert from_file.not_read == ()
    assert exported(from_file.image) == second


@pytest.mark.parametrize("start", LEGAL)
def test_every_start_goes_through_a_file_and_is_the_same_town(start: str) -> None:
    life = begin(start)
    require_the_same_town(life.town.image())
    life.close()


@examples(25)
@given(start=st.sampled_from(LEGAL), history=st.lists(steps.lives(), max_size=3))
def test_every_town_in_the_middle_of_its_life_goes_through_a_file(start: str, history: list[Step]) -> None:
    life = begin(start)
    life.play(*history)
    require_the_same_town(life.town.image())
    life.close()


def moved(start: str) -> Life:
    """The start, imported: what was on its way to it is not on its way to the new place."""
    life = begin(start)
    there = TownBuilder(sql=database.open_image(imported(exported(life.town.image())).image))
    now = max(life.now, LATER)
    life.close()
    return replace(life, town=there, now=now, waiting=[], coming=[])


def lives_of_beads(town: TownBuilder) -> list[tuple[Any, ...]]:
    return town.rows("SELECT bead_id, status FROM beads ORDER BY bead_id")


@pytest.mark.parametrize("start", LEGAL)
def test_until_it_is_started_an_imported_town_dispatches_stops_deletes_fails_and_merges_nothing(start: str) -> None:
    life = moved(start)
    beads = lives_of_beads(life.town)
    unfinished = "SELECT COUNT(*) FROM outbox WHERE state IN ('pending', 'claimed')"
    assert begin(start).town.value("paused") or life.town.rows(unfinished) == [(0,)]
    for agents in ("silent", "beat"):
        life.play(Live(3, "30s", agents), Live(1, "5min", agents))
    assert [report.effects for report in life.ticked if report.effects] == []
    assert [report.actions for report in life.ticked if report.actions] == []
    assert lives_of_beads(life.town) == beads
    life.close()


def test_once_it_is_started_it_acts() -> None:
    life = moved("busy")
    life.play(Post("town_started", 0, 0), Live(8, "30s", "silent", Answers()))
    assert life.town.value("paused") is False
    kinds = {effect.kind for report in life.ticked for effect in report.effects}
    assert "dispatch_agent" in kinds
    life.close()


def test_a_process_of_the_old_place_is_not_heard() -> None:
    life = begin("busy")
    old = life.town.rows("SELECT bead_id, generation FROM agent_metadata WHERE status = 'working' AND role <> 'mayor'")
    there = imported(exported(life.town.image())).image
    life.close()
    new = {row["bead_id"]: row["generation"] for row in rewriting.all_rows(there)["agent_metadata"]}
    assert old
    assert all(new[agent] > generation for agent, generation in old)


def test_under_another_name_only_the_name_differs() -> None:
    image = begin("reworked").town.image()
    here, there = (exported(imported(exported(image), town_id=name).image) for name in (TOWN, "elsewhere"))
    differing = [
        (table, row, other)
        for (table, row), (_, other) in zip(rows_of(here), rows_of(there), strict=True)
        if row != other
    ]
    assert differing == [("town", {"key": "id", "value": f'"{TOWN}"'}, {"key": "id", "value": '"elsewhere"'})]


WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    1.5,
    "",
    [],
    {},
    "x" * 40_000,
    "\0",
    "null",
    "{",
    "[1]",
    "9999-12-31T23:59:59.999Z",
)


@examples(40)
@given(
    wrongs=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 100), st.sampled_from(WRONG)), max_size=8),
    swapped=st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(0, 255)), max_size=8),
    as_file=st.booleans(),
)
def test_whatever_is_wrong_in_a_file_the_answer_is_a_town_that_ticks_or_a_refusal(
    wrongs: list[tuple[int, int, Any]], swapped: list[tuple[int, int]], *, as_file: bool
) -> None:
    life = begin("talkative")
    image = life.town.image()
    body = bytearray(image if as_file else exported(image))
    if not as_file:
        lines = [json.loads(line) for line in body.splitlines()]
        for line, column, value in wrongs:
            row = lines[1 + line % (len(lines) - 1)]["row"]
            row[sorted(row)[column % len(row)]] = value
        body = bytearray(b"\n".join(json.dumps(line).encode() for line in lines))
    for place, value in swapped:
        body[place % len(body)] = value
    given_rows = foreign_rows.of_database(bytes(body)) if as_file else of_lines(bytes(body))
    try:
        there = importing.imported(TOWN, given_rows, now=LATER)
    except Refused:
        life.close()
        return
    again = imported(exported(there.image))
    assert [each for each in again.not_read if each.outcome != "kept"] == []
    assert exported(again.image) == exported(there.image)
    town = TownBuilder(sql=database.open_image(there.image))
    moved_on = replace(life, town=town, now=LATER, waiting=[], coming=[])
    life.close()
    moved_on.play(Live(1, "30s", "none"), Post("town_started", 0, 0), Live(2, "30s", "none", Answers()))
    assert town.value("paused") is False
    moved_on.close()
