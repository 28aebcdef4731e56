"""Lists in pages: every entry once, in order, also of a published past, and with a wrong cursor refused."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.errors import Refused
from shared.domain.shapes import document, read
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.questions import bead_list, event_list, pages, rosters, status, tick_list, totals
from shared.questions.bead_list import BeadList
from shared.questions.event_list import EventList
from shared.questions.filters import BeadFilter, EventFilter
from shared.questions.point_list import points
from shared.questions.repeated_events import types_and_outcomes
from shared.questions.spend import spend_words
from shared.questions.tick_list import TickList
from shared.storage.restore import KeptPast
from tests.conventions.test_query_plans import with_history
from tests.towns import T, TownBuilder, a_town, event
from tests.worlds import World, a_world

TOWN = "one"
TICKS = 140
LAST = TICKS + 1
"""The number of the last tick: a town is built with the number 1."""


def past_of(world: World) -> StoredPast:
    return StoredPast(world.objects, world.objects)  # type: ignore[arg-type]


def ticks(world: World, **more: Any) -> TickList:
    return drive(tick_list.ticks(TOWN, past_of(world), **more))


def numbers(page: TickList) -> list[int]:
    return [each.tick for each in page.ticks]


def lived(count: int) -> World:
    """A town that has lived through so many ticks that each did something."""
    world = a_world(a_town(TOWN))
    for number in range(count):
        world.clock.move(seconds=30)
        world.post(event("town_started", event_id=f"started-{number:04}"), town_id=TOWN)
        world.run(town_id=TOWN)
    return world


@pytest.fixture(scope="module")
def old() -> World:
    return lived(TICKS)


def test_ticks_are_listed_forwards_from_the_first_to_the_last_although_most_are_published(old: World) -> None:
    seen: list[int] = []
    page = ticks(old, limit=50, after=0)
    while True:
        seen += numbers(page)
        if page.next is None:
            break
        page = ticks(old, limit=50, after=page.next)
    assert seen == list(range(2, LAST + 1))
    assert any("/journal/" in key for key in old.objects.list(f"towns/{TOWN}/").keys)


def test_ticks_are_listed_backwards_from_the_newest_to_the_first(old: World) -> None:
    seen: list[int] = []
    page = ticks(old, limit=50)
    while True:
        seen = numbers(page) + seen
        if page.previous is None:
            break
        page = ticks(old, limit=50, before=page.previous)
    assert seen == list(range(2, LAST + 1))


def test_each_page_of_ticks_leads_to_its_neighbours(old: World) -> None:
    page = ticks(old, limit=10, before=51)
    assert (numbers(page), page.next, page.previous) == (list(range(41, 51)), 50, 41)
    assert numbers(ticks(old, limit=10, after=page.next)) == list(range(51, 61))
    assert numbers(ticks(old, limit=10, before=page.previous)) == list(range(31, 41))
    newest = ticks(old, limit=10)
    assert (numbers(newest)[-1], newest.next) == (LAST, None)
    beyond = ticks(old, limit=10, after=LAST)
    assert (beyond.ticks, beyond.next, beyond.previous) == ((), None, LAST + 1)
    assert numbers(ticks(old, limit=3, before=beyond.previous)) == [LAST - 2, LAST - 1, LAST]


def test_a_page_of_ticks_is_limited_in_size(old: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_list, "ROWS_SIZE", 1)
    assert numbers(ticks(old, limit=10)) == [LAST]
    assert numbers(ticks(old, limit=10, after=7)) == [8]


def test_a_page_of_ticks_is_read_back_from_its_document(old: World) -> None:
    page = ticks(old, limit=2)
    shown = document(page)
    assert set(shown["ticks"][0]["row"]) >= {"tick_no", "code_version", "inputs", "outputs"}
    assert read(TickList, shown) == page


def test_ticks_go_in_one_direction_at_a_time(old: World) -> None:
    with pytest.raises(Refused) as refused:
        ticks(old, after=1, before=3)
    assert (refused.value.status, refused.value.path) == (422, "before")


# beads


def beads(world: World, wanted: BeadFilter | None = None, **more: Any) -> BeadList:
    return drive(bead_list.beads(TOWN, world.store, wanted or BeadFilter(), now=world.clock.now(), **more))


def ids(page: BeadList) -> list[str]:
    return [bead.bead_id for bead in page.beads]


def every_page(ask: Callable[[str | None], Any], things: str) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(1000):
        page = ask(cursor)
        found += getattr(page, things)
        cursor = page.next
        if cursor is None:
            return found
    raise AssertionError("the pages do not end")


def some_beads() -> TownBuilder:
    return (
        a_town(TOWN)
        .bead("b1", title="Write the LEXER", rig_id="rig-1", labels='["gt:held"]')
        .bead("b2", status="closed", title="Write the parser", body="after the lexer")
        .bead("b3", status="failed", labels="{}", rig_id=None)
        .bead('odd/?#" 🐝', status="in_progress")
        .bead("m1", "merge_request", status="closed")
        .convoy("c1", tracked=["b1", "b2"], closed=1)
        .agent("p1")
    )


def test_beads_are_listed_closed_ones_too_and_without_the_agents() -> None:
    found = beads(a_world(some_beads()))
    assert set(ids(found)) == {"b1", "b2", "b3", 'odd/?#" 🐝', "m1", "c1"}
    assert read(BeadList, document(found)) == found


def test_a_page_of_beads_says_why_they_wait_as_the_status_does() -> None:
    world = a_world(some_beads())
    everything = drive(status.status(TOWN, world.around)).waiting
    assert {each.bead_id for each in everything} >= {"b1", "c1"}
    assert beads(world).waiting == everything
    assert [each.bead_id for each in beads(world, BeadFilter(label="gt:held")).waiting] == ["b1"]
    assert beads(world, BeadFilter(status="closed")).waiting == ()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (BeadFilter(status="live"), {"b1", 'odd/?#" 🐝', "c1"}),
        (BeadFilter(status="closed"), {"b2", "m1"}),
        (BeadFilter(type="merge_request"), {"m1"}),
        (BeadFilter(type="agent"), {"mayor", "p1"}),
        (BeadFilter(convoy="c1"), {"b1", "b2"}),
        (BeadFilter(convoy="c1", status="closed"), {"b2"}),
        (BeadFilter(rig="rig-1", type="issue", text="the lexer"), {"b1", "b2"}),
        (BeadFilter(label="gt:held"), {"b1"}),
        (BeadFilter(text="Lexer"), {"b1", "b2"}),
        (BeadFilter(text="🐝"), {'odd/?#" 🐝'}),
        (BeadFilter(text="%"), set()),
        (BeadFilter(convoy="nowhere"), set()),
    ],
    ids=lambda given: str(given) if isinstance(given, BeadFilter) else "",
)
def test_beads_are_filtered(wanted: BeadFilter, found: set[str]) -> None:
    assert set(ids(beads(a_world(some_beads()), wanted))) == found


@pytest.mark.parametrize(
    ("wanted", "total"),
    [
        (BeadFilter(), 6),
        (BeadFilter(status="live"), 3),
        (BeadFilter(type="merge_request"), 1),
        (BeadFilter(convoy="c1"), 2),
        (BeadFilter(convoy="c1", status="closed"), 1),
        (BeadFilter(rig="rig-1", status="live"), 2),
        (BeadFilter(label="gt:held"), None),
        (BeadFilter(text="lexer"), None),
    ],
    ids=str,
)
def test_a_page_of_beads_says_how_many_match_in_all(wanted: BeadFilter, total: int | None) -> None:
    world = a_world(some_beads())
    assert beads(world, wanted, limit=1).total == total
    if total is not None:
        assert total == len(every_page(lambda cursor: beads(world, wanted, limit=1, cursor=cursor), "beads"))


def test_more_beads_than_a_page_may_read_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "LOOKED_AT_MOST", 5)
    assert beads(a_world(some_beads())).total is None
    assert beads(a_world(some_beads()), BeadFilter(status="live")).total == 3


def test_every_bead_of_an_old_town_is_on_exactly_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bead_list, "LOOKED_AT_MOST", 64)
    world = a_world(with_history(some_beads(), 200))
    whole = every_page(lambda cursor: beads(world, limit=37, cursor=cursor), "beads")
    expected = world.town(TOWN).rows(
        "SELECT bead_id FROM beads WHERE type <> 'agent' ORDER BY created_at DESC, bead_id DESC"
    )
    assert [bead.bead_id for bead in whole] == [row[0] for row in expected]
    rare = every_page(lambda cursor: beads(world, BeadFilter(text="lexer"), cursor=cursor), "beads")
    assert {bead.bead_id for bead in rare} == {"b1", "b2"}


def test_a_page_of_beads_with_long_titles_is_as_long_as_a_lambda_may_answer() -> None:
    town = a_town(TOWN)
    for number in range(500):
        town = town.bead(f"b{number:03}", title='"\\' * 2_000, status="closed")
    world = a_world(town)
    first = beads(world, limit=500)
    assert len(json.dumps({"body": json.dumps(document(first))})) < 6_000_000
    assert first.next is not None
    every = every_page(lambda cursor: beads(world, limit=500, cursor=cursor), "beads")
    assert len({bead.bead_id for bead in every}) == len(every) == 500


def test_convoys_are_listed_with_their_state() -> None:
    world = a_world(some_beads())
    found = drive(bead_list.convoys(TOWN, world.store))
    assert [(each.bead_id, each.state, each.total, each.done) for each in found.convoys] == [("c1", "active", 2, 1)]
    assert read(bead_list.ConvoyList, document(found)) == found


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "W10",
        "eyJhIjoxfQ",
        "WzFd",
        "a" * 2000,
        "WyJhIiwiYiJd=",
        "WyJhIiwgImIiXQ",
        "🐝",
        "W1tbW1tbW1tbW1s",
    ],
)
def test_a_cursor_of_something_else_is_refused_with_a_hint(cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        pages.place_of(cursor, str, str)
    assert (refused.value.status, refused.value.path) == (422, "cursor")
    assert refused.value.hint


@pytest.mark.parametrize("number", [-1, 2**62 + 1, 10**30])
def test_a_forged_cursor_with_a_number_that_no_database_has_is_refused(number: int) -> None:
    with pytest.raises(Refused) as refused:
        events(a_world(a_town(TOWN)), cursor=pages.cursor_of((0, number, 0, 0, "", 0)))
    assert (refused.value.status, refused.value.path) == (422, "cursor")


def test_a_forged_cursor_with_half_a_character_is_refused() -> None:
    forged = base64.urlsafe_b64encode(b'["\\ud800","b"]').decode().rstrip("=")
    with pytest.raises(Refused) as refused:
        beads(a_world(a_town(TOWN)), cursor=forged)
    assert (refused.value.status, refused.value.path) == (422, "cursor")


def test_a_cursor_keeps_its_place() -> None:
    place = ("2026-01-10T12:00:00.000Z", 'odd/?#"' + 58 * "🐝")
    assert pages.place_of(pages.cursor_of(place), str, str) == place


# agents, settings, points


def test_agents_are_listed_with_what_they_do() -> None:
    world = a_world(some_beads())
    found = drive(rosters.agents(TOWN, world.store))
    assert [each.agent_id for each in found.agents] == ["mayor", "p1"]
    assert found.total == 2
    assert [each.used for each in found.agents] == [None, None]
    assert read(rosters.AgentList, document(found)) == found


def test_agents_are_listed_with_what_their_newest_start_used() -> None:
    town = a_town(TOWN).bead("b1", status="in_progress").agent("p1", status="working", hook="b1", generation=2)
    for generation, cost in ((1, 5_000_000), (2, 420_000)):
        models = [
            {"model": "opus", "input_tokens": 100, "output_tokens": 20, "priced_tokens": 120, "cost_micros": cost}
        ]
        town.insert(
            "agent_usage", agent_id="p1", generation=generation, models=json.dumps(models), reported_at=to_text(T)
        )
    found = drive(rosters.agents(TOWN, a_world(town).store))
    assert {each.agent_id: spend_words(each.used) for each in found.agents} == {
        "mayor": None,
        "p1": "0.42 USD, 120 tokens",
    }


def test_settings_show_every_value_that_applies_and_which_are_stored() -> None:
    world = a_world(a_town(TOWN).config(max_polecats_per_rig=3, refinery={"review_mode": "comments"}))
    found = drive(rosters.settings(TOWN, world.store))
    values = {each.name: (each.value, each.stored) for each in found.settings}
    assert values["max_polecats_per_rig"] == (3, True)
    assert values["refinery.review_mode"] == ("comments", True)
    assert values["refinery.code_review"] == (True, False)
    assert [rig.rig_id for rig in found.rigs] == ["rig-1"]
    assert read(rosters.TownSettings, document(found)) == found


def test_points_say_how_many_there_are(old: World) -> None:
    kept = KeptPast(old.objects, old.objects, TOWN)  # type: ignore[arg-type]
    found = drive(points(kept, past_of(old), limit=5))
    everything = drive(kept.points(limit=50_000))
    assert [each.txid for each in found.points] == [each.txid for each in everything[:5]]
    assert found.total == len(everything)


# events


def events(world: World, wanted: EventFilter | None = None, **more: Any) -> EventList:
    return drive(event_list.events(TOWN, world.store, past_of(world), wanted or EventFilter(), **more))


def seen(page: EventList) -> list[tuple[str, str, str]]:
    return [(each.event_id, each.event_type, each.state) for each in page.events]


def a_bead(event_id: str, bead_id: str, title: str = "a bead") -> Envelope:
    return event("bead_created", {"bead": {"bead_id": bead_id, "type": "issue", "title": title}}, event_id=event_id)


def contested() -> World:
    """An event that is repeated, one whose id comes again with another content and another type, and one in the inbox."""
    world = a_world(a_town(TOWN))
    for happened in (
        a_bead("event-001", "b1"),
        a_bead("event-001", "b1", "another title"),
        a_bead("event-002", "b2"),
        a_bead("event-002", "b2"),
        event("town_started", event_id="event-001"),
    ):
        world.clock.move(seconds=30)
        world.post(happened, town_id=TOWN)
        world.run(town_id=TOWN)
    world.clock.move(seconds=30)
    world.post(a_bead("event-003", "b3"), town_id=TOWN)
    return world


def test_events_are_listed_with_conflicts_and_duplicates_by_id_and_type() -> None:
    page = events(contested())
    assert seen(page) == [
        ("event-003", "bead_created", "inbox"),
        ("event-001", "town_started", "conflict"),
        ("event-002", "bead_created", "duplicate"),
        ("event-002", "bead_created", "processed"),
        ("event-001", "bead_created", "conflict"),
        ("event-001", "bead_created", "processed"),
    ]
    assert page.next is None
    assert read(EventList, document(page)) == page


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EventFilter("conflict"), [("event-001", "town_started"), ("event-001", "bead_created")]),
        (EventFilter("conflict", "town_started"), [("event-001", "town_started")]),
        (EventFilter("duplicate"), [("event-002", "bead_created")]),
        (EventFilter("inbox"), [("event-003", "bead_created")]),
        (EventFilter("pending"), [("event-003", "bead_created")]),
        (EventFilter("poisoned"), []),
        (EventFilter("all", "town_started"), [("event-001", "town_started")]),
    ],
    ids=str,
)
def test_events_are_filtered(wanted: EventFilter, found: list[tuple[str, str]]) -> None:
    assert [(event_id, kind) for event_id, kind, _ in seen(events(contested(), wanted))] == found


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_every_event_is_on_exactly_one_page(limit: int) -> None:
    world = contested()
    whole = every_page(lambda cursor: events(world, limit=limit, cursor=cursor), "events")
    assert whole == list(events(world).events)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
def test_an_event_that_a_tick_takes_between_two_pages_is_neither_missing_nor_shown_twice(limit: int) -> None:
    """Events that were shown in the inbox came again on the next page as stored ones."""
    world = a_world(a_town(TOWN))
    for number in range(4):
        world.post(event("town_started", event_id=f"stored-{number}"), town_id=TOWN)
        world.run(town_id=TOWN)
    world.clock.move(seconds=1)
    for number in range(6):
        world.post(event("town_started", event_id=f"waiting-{number}"), town_id=TOWN)
        world.clock.move(seconds=1)
    first = events(world, limit=limit)
    found = [each.event_id for each in first.events]
    world.run(town_id=TOWN)
    world.post(event("town_started", event_id="later-on"), town_id=TOWN)
    cursor = first.next
    while cursor is not None:
        page = events(world, limit=limit, cursor=cursor)
        found += [each.event_id for each in page.events]
        cursor = page.next
    assert [each for each in found if each != "later-on"] == [
        *(f"waiting-{number}" for number in range(5, -1, -1)),
        *(f"stored-{number}" for number in range(3, -1, -1)),
    ]


def test_an_event_that_is_stored_and_not_yet_cleared_from_the_inbox_is_listed_once() -> None:
    world = a_world(a_town(TOWN))
    world.post(event("town_started", event_id="only-one"), town_id=TOWN)
    [key] = [key for key in world.objects.list(f"towns/{TOWN}/").keys if "/inbox/" in key]
    kept = world.objects.get(key)
    assert kept is not None
    world.run(town_id=TOWN)
    world.objects.put(key, kept.body)
    assert [(each.event_id, each.state) for each in events(world).events] == [("only-one", "processed")]


def test_two_conflicts_in_one_tick_are_both_listed() -> None:
    world = a_world(a_town(TOWN))
    world.put_raw(_raw(a_bead("event-001", "b1")), town_id=TOWN, name="a")
    world.put_raw(_raw(a_bead("event-001", "b1", "second")), town_id=TOWN, name="b")
    world.put_raw(_raw(event("town_started", event_id="event-001")), town_id=TOWN, name="c")
    world.run(town_id=TOWN)
    page = every_page(lambda cursor: events(world, limit=1, cursor=cursor), "events")
    [row] = ticks(world).ticks
    assert list(types_and_outcomes(row.row))[1:] == [("bead_created", "conflict"), ("town_started", "conflict")]
    assert [(each.event_type, each.state) for each in page] == [
        ("town_started", "conflict"),
        ("bead_created", "conflict"),
        ("bead_created", "processed"),
    ]


def test_a_dry_run_names_the_type_of_a_conflict_and_the_journal_is_stored_as_ever() -> None:
    world = contested()
    world.post(event("town_started", event_id="event-002"), town_id=TOWN)
    shown = [(each.event_id, each.event_type, each.outcome) for each in world.dry_run(town_id=TOWN).report.events]
    assert ("event-002", "town_started", "conflict") in shown
    world.run(town_id=TOWN)
    stored = world.journal(TOWN)[-1]["outputs"]["events"]
    assert {"event_id": "event-002", "event_type": "", "outcome": "conflict"} in stored


def test_a_conflict_of_a_published_past_is_found_although_a_page_reads_few_blocks(
    old: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_list, "BLOCKS_READ_AT_MOST", 1)
    world = contested()
    for number in range(TICKS):
        world.clock.move(seconds=30)
        world.post(event("town_started", event_id=f"started-{number:04}"), town_id=TOWN)
        world.run(town_id=TOWN)
    found = every_page(lambda cursor: events(world, EventFilter("conflict"), cursor=cursor), "events")
    assert [(each.event_id, each.event_type) for each in found] == [
        ("event-001", "town_started"),
        ("event-001", "bead_created"),
    ]
    whole = every_page(lambda cursor: events(world, cursor=cursor), "events")
    [stored] = world.town(TOWN).rows("SELECT COUNT(*) FROM town_events")[0]
    assert len({(each.event_id, each.state, each.tick) for each in whole}) == len(whole) == stored + 3
    assert [each.received_at for each in whole] == sorted((each.received_at for each in whole), reverse=True)


def told(world: World, **more: Any) -> list[tuple[object, ...]]:
    """What lists say about the events that were sent, on all pages."""
    whole = every_page(lambda cursor: events(world, cursor=cursor, **more), "events")
    return [
        (each.event_id, each.event_type, each.state, each.received_at, each.seq, each.outcome, each.retry_count)
        for each in whole
        if each.event_id.startswith("event-")
    ]


@pytest.mark.parametrize("limit", [1, 50])
def test_events_whose_rows_have_left_are_listed_as_before_with_the_tick_that_read_them(limit: int) -> None:
    world = contested()
    world.run(town_id=TOWN)
    before = told(world)
    rows_of = "SELECT COUNT(*) FROM town_events WHERE event_id LIKE 'event-%'"
    assert world.town(TOWN).rows(rows_of) == [(3,)]

    world.clock.move(seconds=7 * 3600)
    world.post(event("town_started", event_id="later-0001"), town_id=TOWN)
    world.run(town_id=TOWN)

    assert world.town(TOWN).rows(rows_of) == [(0,)]
    assert told(world, limit=limit) == before
    first = next(each for each in events(world).events if (each.event_id, each.state) == ("event-001", "processed"))
    (read_by,) = (row for row in world.journal(TOWN) if row["tick_no"] == first.tick)
    assert [each["event_id"] for each in read_by["inputs"]["new_events"]] == ["event-001"]
    assert seen(events(world, EventFilter("duplicate"))) == [("event-002", "bead_created", "duplicate")]
    assert seen(events(world, EventFilter("conflict"))) == [
        ("event-001", "town_started", "conflict"),
        ("event-001", "bead_created", "conflict"),
    ]


def test_a_repetition_of_an_event_whose_row_has_left_is_listed_beside_it() -> None:
    world = contested()
    world.run(town_id=TOWN)
    for happened in (a_bead("event-003", "b3"), a_bead("event-003", "b3", "another title")):
        world.clock.move(seconds=7 * 3600)
        world.post(happened, town_id=TOWN)
        world.run(town_id=TOWN)
    assert [line for line in seen(events(world)) if line[0] == "event-003"] == [
        ("event-003", "bead_created", "conflict"),
        ("event-003", "bead_created", "duplicate"),
        ("event-003", "bead_created", "processed"),
    ]


def test_a_sign_of_life_is_no_duplicate_of_one_that_was_removed() -> None:
    world = a_world(a_town(TOWN).agent("p1"))
    for _ in range(2):
        world.clock.move(seconds=30)
        world.post(event("agent_heartbeat", {"generation": 1}, agent="p1", event_id="beat-0001"), town_id=TOWN)
        world.run(town_id=TOWN)
    assert seen(events(world, EventFilter("duplicate"))) == []


def _raw(envelope: Envelope) -> bytes:
    return (
        f'{{"event_id":"{envelope.event_id}","event_type":"{envelope.event_type}","payload":{envelope.payload}}}'
    ).encode()


def test_times_are_those_of_the_town(old: World) -> None:
    assert to_text(ticks(old, limit=1).ticks[0].time) == to_text(T + timedelta(seconds=30 * TICKS))
