"""A town that is years old is ticked as fast as a young one: no statement walks through history.

Explained are all queries of the rules and every statement that busy ticks execute, on a town with thousands of
finished beads, processed events, delivered nudges and finished effects.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import pytest

from shared.domain.processes import ProcessStatus
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.questions import bead_list, event_list
from shared.town import database, schemas
from shared.town.queries import QUERIES
from tests.histories import STEPS, told
from tests.towns import MS, T, TownBuilder, a_town, ago, event
from tests.worlds import World

HISTORY = 2_000
GROWING = (
    "beads",
    "town_events",
    "known_events",
    "bead_events",
    "agent_nudges",
    "outbox",
    "review_metadata",
    "bead_dependencies",
    "ticks",
)
"""Tables that grow with the age of a town."""

_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_WALK = re.compile(r"SCAN (?P<name>\w+)(?P<rest>.*)")

BOUNDED = {
    "agents_by_hook": "agents that have a hook",
    "beads_awaiting": "beads that depend on one that does not exist",
    "beads_failed_to_start": "beads that failed to start in the last half hour",
    "convoys_of_unknown_status": "convoys that cannot exist",
    "convoys_staged": "staged convoys",
    "escalations_to_bump": "escalations that nobody took",
    "events_pending": "events that wait",
    "nudges_expiring": "nudges that nobody took",
    "nudges_undelivered": "nudges that nobody took",
    "outbox_ids": "effects that are not finished",
    "outbox_unfinished": "effects that are not finished",
}
"""Partial indexes whose rows go away again; walking through all of one is no walk through history."""


def with_history(town: TownBuilder, size: int = HISTORY) -> TownBuilder:
    """So many beads of each kind that are over, and what they left behind."""
    town.sql.set_authorizer(None)
    town.sql.execute("BEGIN")
    for number in range(size):
        old, recent = to_text(ago(days=6) + number * MS), to_text(ago(hours=5) + number * MS)
        for bead_id, kind, status in _finished(number):
            town.sql.execute(
                "INSERT INTO beads (bead_id, type, status, title, rig_id, created_at, updated_at, closed_at, metadata) "
                "VALUES (?, ?, ?, 'old', 'rig-1', ?, ?, ?, '{\"failed_blocker_notified\":1}')",
                (bead_id, kind, status, old, old, old if status == "closed" else None),
            )
        for statement in _LEFT_BEHIND:
            town.sql.execute(statement, {"n": str(number), "seq": number, "old": old, "recent": recent})
    town.sql.execute("COMMIT")
    database.restrict(town.sql)
    return town.key("next_seq", size + 1).key("next_audit_seq", size + 1)


def _finished(number: int) -> Iterator[tuple[str, str, str]]:
    yield f"old-{number}", "issue", "closed" if number % 10 else "failed"
    yield f"old-mr-{number}", "merge_request", "closed" if number % 10 else "failed"
    yield f"old-mail-{number}", "message", "closed"
    if number % 10 == 0:
        yield f"old-convoy-{number}", "convoy", "closed"
        yield f"old-escalation-{number}", "escalation", "closed"


_LEFT_BEHIND = re.split(
    r";\n",
    """
    INSERT INTO review_metadata (bead_id, branch) VALUES ('old-mr-' || :n, 'x');
    INSERT INTO bead_dependencies (bead_id, depends_on_bead_id, dependency_type)
        VALUES ('old-mr-' || :n, 'old-' || :n, 'tracks');
    INSERT INTO town_events (event_id, seq, event_type, source, created_at, received_at, processed_at, outcome)
        VALUES ('old-' || :n, :seq, 'bead_updated', 'ingest', :recent, :recent, :recent, 'applied');
    INSERT INTO known_events (event, seq, content, outcome, processed_on)
        VALUES ('older-' || :n, :seq, 'digest', 'applied', substr(:old, 1, 10));
    INSERT INTO bead_events (bead_event_id, seq, bead_id, event_type, created_at)
        VALUES ('old-' || :n, :seq, 'old-' || :n, 'created', :old);
    INSERT INTO agent_nudges (nudge_id, agent_bead_id, message, source, created_at, delivered_at)
        VALUES ('old-' || :n, 'mayor', 'x', 'reconciler:warn', :old, :old);
    INSERT INTO outbox (effect_id, seq, kind, subject, generation, payload, state, deadline, created_at, finished_at)
        VALUES ('old-' || :n, :seq, 'stop_agent', 'old', :seq, '{}', 'done', :old, :old, :old);
    INSERT INTO convoy_metadata (bead_id) SELECT bead_id FROM beads WHERE bead_id = 'old-convoy-' || :n;
    INSERT INTO escalation_metadata (bead_id, severity)
        SELECT bead_id, 'low' FROM beads WHERE bead_id = 'old-escalation-' || :n
""",
)


def walks(town: TownBuilder, statement: str) -> list[str]:
    """The steps of a statement's plan that go through all rows of a table that grows."""
    town.sql.set_authorizer(None)
    plan = town.rows(f"EXPLAIN QUERY PLAN {statement}")
    names = _tables_by_alias(statement)
    found = []
    for *_, step in plan:
        walk = _WALK.match(step)
        if walk is None or names.get(walk["name"], walk["name"]) not in GROWING:
            continue
        if not any(f"INDEX {index}" in walk["rest"] for index in BOUNDED):
            found.append(step)
    return found


def _tables_by_alias(statement: str) -> dict[str, str]:
    """The table behind each alias, also of the view that is used by its name."""
    text = f"{_VIEWS} {statement}"
    return {
        alias: table for table, alias in re.findall(r"(?:FROM|JOIN)\s+(\w+)(?:\s+AS)?\s+(\w+)", text, re.IGNORECASE)
    }


_VIEWS = (schemas._HERE / "views.sql").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def old_town() -> TownBuilder:
    return with_history(a_town())


@pytest.mark.parametrize("name", list(QUERIES))
def test_no_query_of_the_rules_walks_through_history(name: str, old_town: TownBuilder) -> None:
    assert walks(old_town, QUERIES[name].replace(":since", f"'{to_text(T)}'").replace(":id", "'x'")) == []


@pytest.mark.parametrize(
    "statement", [bead_list._OF_KIND, bead_list._OF_CONVOY, event_list._STORED, event_list._PENDING]
)
def test_a_page_of_a_list_reads_only_the_rows_that_it_looks_at(statement: str, old_town: TownBuilder) -> None:
    explained = re.sub(r":(\w+)", lambda name: "9" if name[1] == "seq" else "'x'", statement)
    assert walks(old_town, explained) == []
    plan = " ".join(step for *_, step in old_town.rows(f"EXPLAIN QUERY PLAN {explained}"))
    # only the beads of one convoy and the pending events are sorted
    assert "TEMP B-TREE" not in plan or statement in (bead_list._OF_CONVOY, event_list._PENDING)


def test_no_statement_of_a_busy_history_walks_through_history(
    old_town: TownBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event, rule, action and effect of tests.histories; their statements with values in place of parameters."""
    statements: set[str] = set()
    opened = database.open_image

    def open_and_listen(image: bytes) -> database.Database:
        sql = opened(image)
        sql.set_trace_callback(lambda statement: statements.add(statement) if _STATEMENT.match(statement) else None)
        return sql

    monkeypatch.setattr(database, "open_image", open_and_listen)
    for _ in islice(told(World(), dry_runs=False), STEPS):
        pass

    assert len({_STATEMENT.sub("", statement)[:60] for statement in statements}) > 100
    assert {statement: steps for statement in sorted(statements) if (steps := walks(old_town, statement))} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT b.bead_id FROM beads b WHERE b.title = 'x'",
        "SELECT COUNT(*) FROM beads",
        "SELECT COUNT(*) FROM town_events WHERE outcome = 'applied'",
        "SELECT d.bead_id FROM bead_dependencies d ORDER BY d.bead_id",
        "UPDATE town_events SET outcome = 'x' WHERE payload = '{}'",
    ],
)
def test_a_walk_is_seen(statement: str, old_town: TownBuilder) -> None:
    assert len(walks(old_town, statement)) == 1


# the number of statements


def twenty_at_work(*, history: int) -> TownBuilder:
    """Twenty agents that work, some reviews, a convoy, a mail and an escalation that wait, and a past."""
    town = a_town()
    for number in range(20):
        town.bead(f"b{number:02}", status="in_progress", assignee_agent_bead_id=f"p{number:02}")
        town.agent(f"p{number:02}", status="working", hook=f"b{number:02}", last_event_at=T)
    town.bead("blocked").edge("blocked", "b00").bead("waits", status="in_review").review(
        "m1", of="waits", status="in_progress"
    )
    town.agent("f", "refinery", "working", hook="m1", last_event_at=T)
    town.convoy("c1", tracked=["b01", "b02"], closed=0)
    town.bead("mail", "message", assignee_agent_bead_id="nobody")
    town.bead("e1", "escalation").insert("escalation_metadata", bead_id="e1", severity="low")
    return with_history(town, history)


def executed(town: TownBuilder, *events: Envelope, at: datetime = T) -> list[str]:
    """The statements of one tick with everybody observed."""
    seen = {f"p{number:02}": ProcessStatus("running", None, 1) for number in range(20)}
    statements: list[str] = []
    town.sql.set_trace_callback(statements.append)
    report = town.tick(*events, at=at, seen=seen)
    town.sql.set_trace_callback(None)
    assert report.actions == ()
    return statements


@pytest.mark.parametrize("history", [100, 5_000])
def test_a_tick_without_actions_executes_at_most_sixty_statements(history: int) -> None:
    assert len(executed(twenty_at_work(history=history))) <= 60


def test_the_number_of_statements_does_not_grow_with_history() -> None:
    young, old = twenty_at_work(history=100), twenty_at_work(history=5_000)
    beat = event("agent_heartbeat", {"generation": 1}, agent="p00")

    assert len(executed(young, beat)) == len(executed(old, beat))
    later = T + timedelta(seconds=5)
    assert len(executed(young, at=later)) == len(executed(old, at=later))
