"""What an import makes of rows that are not as they should be: each is told, and nothing else is lost."""

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.domain.errors import Refused
from shared.images import rewriting, summary
from shared.moving import foreign_rows, importing
from shared.moving.importing import ImportedImage
from shared.moving.transfer import LONGEST_LINE, of_lines
from shared.town import town_keys
from tests.scenarios.table import scenario

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
AT = "2026-01-10T11:00:00.000Z"
HEADER = {"format": "town-export", "version": 1, "town": "old", "tick": 3, "time": AT}
RIG = ("rigs", {"id": "r1", "name": "work", "created_at": AT})


def bead(bead_id: str, **columns: Any) -> tuple[str, dict[str, Any]]:
    given = {"bead_id": bead_id, "type": "issue", "title": "Do it", "created_at": AT, "updated_at": AT, **columns}
    return ("beads", given)


def agent(bead_id: str, **columns: Any) -> tuple[str, dict[str, Any]]:
    return ("agent_metadata", {"bead_id": bead_id, "role": "polecat", "identity": bead_id, **columns})


def lines(*rows: tuple[str, Any], header: Any = HEADER) -> bytes:
    written = [header, *({"table": table, "row": row} for table, row in rows)]
    return b"".join(json.dumps(each).encode() + b"\n" for each in written)


def imported(*rows: tuple[str, Any]) -> ImportedImage:
    return importing.imported("new", of_lines(lines(*rows)), now=NOW)


def told(there: ImportedImage) -> list[tuple[str, str, str, str]]:
    return [(each.table, each.key, each.column, each.outcome) for each in there.not_read]


def stored(there: ImportedImage, table: str) -> list[dict[str, Any]]:
    return rewriting.all_rows(there.image)[table]


def key_of(there: ImportedImage, key: str) -> Any:
    return next(json.loads(row["value"]) for row in stored(there, "town") if row["key"] == key)


GOOD = (RIG, bead("good", rig_id="r1"), bead("a1", type="agent"))


@pytest.mark.parametrize(
    ("row", "loss"),
    [
        pytest.param(bead("b", status="blocked"), ("beads", "b", "status", "row left out"), id="unknown status"),
        pytest.param(bead("b", type="epic"), ("beads", "b", "type", "row left out"), id="unknown type"),
        pytest.param(
            bead("b", labels="no json"), ("beads", "b", "labels", "row left out"), id="labels that are no JSON"
        ),
        pytest.param(bead("b", labels='{"a":1}'), ("beads", "b", "", "kept"), id="labels that are no list"),
        pytest.param(bead("b", updated_at="yesterday"), ("beads", "b", "updated_at", "kept"), id="a time that is none"),
        pytest.param(bead("b", title=None), ("beads", "b", "title", "row left out"), id="no title"),
        pytest.param(bead("b", title=7), ("beads", "b", "title", "row left out"), id="a number for a text"),
        pytest.param(bead("b", body=["x"]), ("beads", "b", "body", "column left out"), id="a list for a text"),
        pytest.param(bead("b", body="x" * 32_769), ("beads", "b", "body", "kept"), id="a body that is too long"),
        pytest.param(bead("b" * 65), ("beads", "b" * 65, "bead_id", "kept"), id="an id that no event can name"),
        pytest.param(
            bead("b", rig_id="gone"), ("beads", "b", "rig_id", "column left out"), id="a rig that is not there"
        ),
        pytest.param(
            bead("b", parent_bead_id="x"), ("beads", "b", "parent_bead_id", "column left out"), id="no parent"
        ),
        pytest.param(
            bead("b", dispatch_attempts=-1), ("beads", "b", "dispatch_attempts", "row left out"), id="below 0"
        ),
        pytest.param(
            bead("b", dispatch_attempts=2**60), ("beads", "b", "dispatch_attempts", "row left out"), id="huge"
        ),
        pytest.param(bead("b", priority=None), ("beads", "b", "priority", "column left out"), id="null has a default"),
        pytest.param(bead("b", colour="red"), ("beads", "b", "colour", "column left out"), id="an extra column"),
        pytest.param(bead("good", title="Other"), ("beads", "good", "", "row left out"), id="the same key twice"),
        pytest.param(("beads", {}), ("beads", "line 5", "bead_id", "row left out"), id="a row of nothing"),
        pytest.param(agent("a1", role="witness"), ("agent_metadata", "a1", "role", "row left out"), id="unknown role"),
        pytest.param(agent("x"), ("agent_metadata", "x", "bead_id", "row left out"), id="an agent without its bead"),
        pytest.param(
            agent("a1", current_hook_bead_id="gone"),
            ("agent_metadata", "a1", "current_hook_bead_id", "column left out"),
            id="a hook that leads nowhere",
        ),
        pytest.param(
            agent("a1", last_dispatch_outcome="perhaps"),
            ("agent_metadata", "a1", "last_dispatch_outcome", "column left out"),
            id="unknown outcome",
        ),
        pytest.param(
            agent("a1", active_tools="{"), ("agent_metadata", "a1", "active_tools", "kept"), id="tools that are no JSON"
        ),
        pytest.param(
            ("bead_dependencies", {"bead_id": "good", "depends_on_bead_id": "gone"}),
            ("bead_dependencies", "good gone", "depends_on_bead_id", "row left out"),
            id="an edge that leads nowhere",
        ),
        pytest.param(
            ("bead_dependencies", {"bead_id": "good", "depends_on_bead_id": "good"}),
            ("bead_dependencies", "good good", "", "row left out"),
            id="an edge to itself",
        ),
        pytest.param(("rigs", {**RIG[1], "id": "r2"}), ("rigs", "r2", "name", "row left out"), id="a name twice"),
        pytest.param(
            ("rigs", {**RIG[1], "id": "r2", "name": "n", "config": {"max_dispatch_attempts": "many"}}),
            ("rigs", "r2", "", "kept"),
            id="a rig's setting that is none",
        ),
        pytest.param(
            ("convoy_metadata", {"bead_id": "good", "merge_mode": "by-force"}),
            ("convoy_metadata", "good", "merge_mode", "column left out"),
            id="unknown merge mode",
        ),
        pytest.param(("towns", {"a": 1}), ("towns", "line 5", "", "row left out"), id="a table that does not exist"),
        pytest.param(
            ("town", {"key": "config", "value": {"merge_strategy": "by-force"}}),
            ("town", "config", "merge_strategy", "column left out"),
            id="a setting that is none",
        ),
        pytest.param(
            ("town", {"key": "breaker", "value": '{"open":"perhaps"}'}),
            ("town", "breaker", "value", "row left out"),
            id="a breaker that is none",
        ),
        pytest.param(
            ("town", {"key": "tick_no", "value": "-4"}), ("town", "tick_no", "value", "row left out"), id="tick -4"
        ),
        pytest.param(
            ("town", {"key": "last_tick_at", "value": '"9999-12-31T23:59:59.999Z"'}),
            ("town", "last_tick_at", "value", "row left out"),
            id="the end of the calendar",
        ),
        pytest.param(("town", {"key": "mood", "value": "1"}), ("town", "mood", "key", "kept"), id="an unknown key"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_and_nothing_else_is_lost(
    row: tuple[str, Any], loss: tuple[str, str, str, str]
) -> None:
    there = imported(*GOOD, row, bead("last"))
    assert told(there) == [loss]
    assert all(each.why for each in there.not_read)
    beads = {each["bead_id"] for each in stored(there, "beads")}
    assert beads >= {"good", "a1", "last"}
    if loss[3] != "row left out":
        assert len(stored(there, row[0])) > sum(table == row[0] for table, _ in GOOD) or row[0] == "town"


def test_what_can_be_read_in_another_form_is_written_in_ours() -> None:
    there = imported(
        RIG,
        bead("b", created_at="2026-01-10T12:00:00+01:00", labels=["x"], metadata={"b": 1, "a": "é"}),
        agent("b", dispatch_attempts=2.0),
    )
    [row] = stored(there, "beads")
    assert (row["created_at"], row["labels"], row["metadata"]) == (AT, '["x"]', '{"a":"é","b":1}')
    assert (stored(there, "agent_metadata")[0]["dispatch_attempts"], told(there)) == (2, [])


def test_two_agents_on_one_bead_are_told_and_the_second_loses_its_hook() -> None:
    there = imported(
        bead("b"), bead("a1"), bead("a2"), *(agent(name, current_hook_bead_id="b") for name in ("a1", "a2"))
    )
    assert told(there) == [("agent_metadata", "a2", "current_hook_bead_id", "column left out")]
    assert [row["current_hook_bead_id"] for row in stored(there, "agent_metadata")] == ["b", None]


def test_what_hangs_on_a_row_that_was_left_out_is_told_too() -> None:
    edge = ("bead_dependencies", {"bead_id": "b", "depends_on_bead_id": "mr"})
    there = imported(
        bead("b"), bead("mr", status="merging"), ("review_metadata", {"bead_id": "mr", "branch": "x"}), edge
    )
    assert [loss[:2] for loss in told(there)] == [
        ("beads", "mr"),
        ("review_metadata", "mr"),
        ("bead_dependencies", "b mr"),
    ]
    assert there.rows["beads"] == 1


def test_an_export_without_keys_of_a_town_begins_at_tick_0_paused_with_a_new_towns_settings() -> None:
    there = imported(RIG, bead("b"))
    assert (there.tick_no, key_of(there, "paused"), key_of(there, "id")) == (0, True, "new")
    assert key_of(there, "config")["merge_strategy"] == "pr"


@pytest.mark.parametrize(("brake", "generation"), [(None, 4), ({"by": "ann", "at": AT, "stopped_agents": True}, 5)])
def test_the_agents_of_a_braked_town_are_fenced_and_those_of_a_town_that_never_ran_are_kept(
    brake: dict[str, Any] | None, generation: int
) -> None:
    rows = [("town", {"key": "paused", "value": "true"}), bead("p"), agent("p", generation=4)]
    rows += [] if brake is None else [("town", {"key": "brake", "value": json.dumps(brake)})]
    there = imported(*rows)
    assert [row["generation"] for row in stored(there, "agent_metadata")] == [generation]
    assert (key_of(there, "paused"), told(there)) == (True, [])
    assert "brake" not in {row["key"] for row in stored(there, "town")}


def test_numbers_go_on_behind_the_greatest_that_was_given_out() -> None:
    event = {"event_id": "e1", "seq": 41, "event_type": "x", "source": "ingest", "created_at": AT, "received_at": AT}
    there = imported(("town_events", event), ("town", {"key": "next_seq", "value": "7"}))
    assert key_of(there, "next_seq") == 42


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"table":"beads","row":', "not JSON"),
        (b'{"table":"beads","row":{"bead_id":"\xff"}}', "not UTF-8"),
        (b'{"table":"beads","row":{"bead_id":"x","bead_id":"y"}}', "duplicate key"),
        (b'{"table":"beads","row":{"bead_id":"\\u0000"}}', "U+0000"),
        (b'{"table":"beads","row":{"bead_id":"\\ud800"}}', "surrogate"),
        (b'{"table":"beads","row":{"n":1e999}}', "too large"),
        (b'{"table":"beads","row":{"n":NaN}}', "NaN"),
        (b"[" * 200_000, "nested deeper"),
        (b'{"table":"beads","row":[]}', "row an object"),
        (b'{"table":"beads"}', "nothing else"),
        (b"7", "nothing else"),
        (b'"' + b"x" * (LONGEST_LINE + 1) + b'"', "at most"),
    ],
)
def test_a_hostile_line_is_told_by_its_number_and_the_next_is_read(line: bytes, why: str) -> None:
    there = importing.imported("new", of_lines(lines(RIG) + line + b"\n" + lines(bead("b"), header=None)[5:]), now=NOW)
    [loss] = there.not_read
    assert (loss.key, why in loss.why, there.rows["beads"]) == ("line 3", True, 1)


def test_a_file_that_was_cut_off_is_told_by_what_its_header_promises() -> None:
    header = {**HEADER, "rows": {"beads": 2, "rigs": 1}}
    there = importing.imported("new", of_lines(lines(RIG, bead("b"), header=header)), now=NOW)
    [loss] = there.not_read
    assert (loss.table, "header: 2; rows that can be read: 1" in loss.why) == ("beads", True)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"hello", b"[]", lines(header={"format": "other"}), lines(header={**HEADER, "version": 2})],
)
def test_a_file_that_is_no_export_is_refused_with_what_to_do(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        importing.imported("new", of_lines(content), now=NOW)
    assert refused.value.hint


def test_a_town_of_a_newer_schema_is_refused() -> None:
    with pytest.raises(Refused, match="schema 99"):
        imported(("town", {"key": "schema_version", "value": "99"}))


@pytest.mark.parametrize(
    ("given", "kept", "why"),
    [
        (
            "https://bot:hunter2@git.example.com/a/b.git",
            "https://git.example.com/a/b.git",
            "the credentials in the address were removed",
        ),
        ("https://ghp_hunter2@github.com/a/b", "https://github.com/a/b", "the credentials in the address were removed"),
        (
            "http://bot:hunter2@git.example.com/a",
            "http://git.example.com/a",
            "the credentials in the address were removed",
        ),
        (
            "ssh://git:hunter2@git.example.com/a",
            "ssh://git@git.example.com/a",
            "the credentials in the address were removed",
        ),
        ("ext::sh -c id", "ext::sh -c id", "not an https or ssh address"),
        ("ssh://git@git.example.com/a", "ssh://git@git.example.com/a", None),
        ("git@git.example.com:a/b.git", "git@git.example.com:a/b.git", None),
    ],
)
def test_credentials_in_a_repositorys_address_do_not_come_along(given: str, kept: str, why: str | None) -> None:
    """An event with them is refused; a file brought them into start orders, answers and exports."""
    rig = {"id": "r", "name": "n", "git_url": given, "default_branch": "main", "config": "{}", "created_at": AT}
    there = imported(("rigs", rig))
    assert [row["git_url"] for row in stored(there, "rigs")] == [kept]
    assert [why is not None and why in each.why for each in there.not_read] == ([True] if why else [])
    assert "hunter2" not in repr(there.not_read)


# SQLite files ---------------------------------------------------------------------------------------------


def database(*statements: str) -> bytes:
    sql = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements:
        sql.execute(statement)
    content = sql.serialize()
    sql.close()
    return content


def from_file(content: bytes) -> ImportedImage:
    return importing.imported("new", foreign_rows.of_database(content), now=NOW)


LOOSE = "CREATE TABLE beads (bead_id, type, title, created_at, updated_at, body, status DEFAULT 'open')"
INSERT = "INSERT INTO beads (bead_id, type, title, created_at, updated_at, body)"


def test_a_foreign_file_with_looser_tables_is_read() -> None:
    there = from_file(
        database(
            LOOSE, f"{INSERT} VALUES ('b', 'issue', 'T', '{AT}', '{AT}', x'ff00'), (5, 'issue', 'T', 'x', 'x', NULL)"
        )
    )
    assert told(there) == [("beads", "b", "body", "column left out"), ("beads", "5", "bead_id", "row left out")]
    assert [row["bead_id"] for row in stored(there, "beads")] == ["b"]


def test_what_a_file_holds_in_tables_that_no_town_has_is_told() -> None:
    """Only tables of our names were looked at, so a whole table of the old system could be lost without a word."""
    there = from_file(
        database(
            LOOSE.replace("beads", "Beads"),
            f"{INSERT} VALUES ('b', 'issue', 'T', '{AT}', '{AT}', NULL)",
            'CREATE TABLE "rig ""agents""" (id)',
            'INSERT INTO "rig ""agents""" VALUES (1), (2)',
            "CREATE TABLE empty (id)",
            "CREATE VIEW rigs AS SELECT 'r' AS id",
            "CREATE VIEW open_beads AS SELECT * FROM beads",
        )
    )
    assert [(each.table, each.key, each.why) for each in there.not_read] == [
        ('rig "agents"', "2 rows", "towns have no such table"),
        ("rigs", "", "views and virtual tables are not read"),
    ]
    assert there.rows["beads"] == 1


def test_a_file_in_wal_mode_is_read() -> None:
    content = bytearray(database(LOOSE, f"{INSERT} VALUES ('b', 'issue', 'T', '{AT}', '{AT}', NULL)"))
    content[18:20] = b"\2\2"
    assert from_file(bytes(content)).rows["beads"] == 1


@pytest.mark.parametrize(
    "content",
    [
        foreign_rows.MAGIC,
        foreign_rows.MAGIC + b"x" * 5_000,
        database("CREATE TABLE other (x)"),
        database("CREATE VIEW beads AS SELECT 1 AS bead_id"),
    ],
)
def test_a_sqlite_file_that_is_no_town_is_refused_with_what_to_do(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        from_file(content)
    assert refused.value.hint


def test_nothing_that_a_hostile_file_brings_along_is_carried_out() -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n"
    there = from_file(
        database(
            LOOSE,
            f"CREATE VIEW rigs AS {endless}",
            "CREATE TABLE agent_nudges (nudge_id, message AS (hex(zeroblob(10))))",
            "INSERT INTO agent_nudges (nudge_id) VALUES ('n')",
        )
    )
    assert [(loss.table, loss.key, loss.why) for loss in there.not_read] == [
        ("rigs", "", "views and virtual tables are not read"),
        ("agent_nudges", "n", "NOT NULL constraint failed: agent_nudges.agent_bead_id"),
    ]
    assert there.rows["rigs"] == 0


def test_of_a_damaged_file_is_told_what_could_not_be_read() -> None:
    rows = ", ".join(f"('b{number}', 'issue', '{'T' * 900}', '{AT}', '{AT}', NULL)" for number in range(40))
    content = bytearray(database(LOOSE, f"{INSERT} VALUES {rows}"))
    middle = len(content) // 4096 // 2 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    there = from_file(bytes(content))
    [loss] = there.not_read
    assert "cannot be read after its row" in loss.why
    assert 0 < there.rows["beads"] < 40


def a_database(*statements: str) -> bytes:
    sql = sqlite3.connect(":memory:")
    for statement in statements:
        sql.execute(statement)
    sql.commit()
    content: bytes = sql.serialize()
    sql.close()
    return content


@scenario(608)
def test_events_without_numbers_are_numbered_by_their_times() -> None:
    """Seen: of a database in the shape of the system that this project replaces, every pending event was lost."""
    content = a_database(
        "CREATE TABLE beads (bead_id TEXT PRIMARY KEY, type TEXT, title TEXT, created_at TEXT, updated_at TEXT)",
        f"INSERT INTO beads VALUES ('b1', 'issue', 'Do it', '{AT}', '{AT}')",
        "CREATE TABLE town_events (event_id TEXT PRIMARY KEY, event_type TEXT, agent_id TEXT, bead_id TEXT, payload TEXT,"
        " created_at TEXT, processed_at TEXT)",
        "INSERT INTO town_events VALUES ('event-a-later', 'bead_cancelled', NULL, 'b1', '{}', '2026-01-10T11:30:00+00:00', NULL)",
        "INSERT INTO town_events VALUES ('event-z-first', 'bead_updated', NULL, 'b1', '{}', '2026-01-10T12:00:00+01:00', NULL)",
        "INSERT INTO town_events VALUES ('event-m-first', 'bead_updated', NULL, 'b1', '{}', '2026-01-10T11:00:00Z', NULL)",
        "CREATE TABLE bead_events (bead_event_id TEXT PRIMARY KEY, bead_id TEXT, event_type TEXT, created_at TEXT)",
        f"INSERT INTO bead_events VALUES ('x', 'b1', 'created', '{AT}')",
    )
    there = importing.imported("new", foreign_rows.of_database(content), now=NOW)

    events = sorted(stored(there, "town_events"), key=lambda row: row["seq"])
    assert [(row["seq"], row["event_id"]) for row in events] == [
        (1, "event-z-first"),
        (2, "event-m-first"),
        (3, "event-a-later"),
    ]
    assert {row["source"] for row in events} == {"ingest"}
    assert [row["received_at"] for row in events] == [AT, AT, "2026-01-10T11:30:00.000Z"]
    assert [row["seq"] for row in stored(there, "bead_events")] == [1]
    numbers = sorted(each for each in told(there) if each[2] == "seq")
    assert numbers == [("bead_events", "", "seq", "kept"), ("town_events", "", "seq", "kept")]
    assert {outcome for *_, outcome in told(there)} == {"kept"}, "nothing is lost"
    assert (key_of(there, "next_seq"), key_of(there, "next_audit_seq")) == (4, 2)


@scenario(608)
def test_rows_without_a_number_come_after_those_that_have_one() -> None:
    def an_event(event_id: str, **more: Any) -> tuple[str, dict[str, Any]]:
        given = {"event_id": event_id, "event_type": "town_started", "source": "operator", "created_at": AT}
        return ("town_events", {**given, "received_at": AT, **more})

    there = imported(an_event("without-one"), an_event("with-a-number", seq=7), an_event("without-two", received_at=AT))
    found = {row["event_id"]: row["seq"] for row in stored(there, "town_events")}
    assert found == {"with-a-number": 7, "without-one": 8, "without-two": 9}
    assert {row["source"] for row in stored(there, "town_events")} == {"operator"}
    assert key_of(there, "next_seq") == 10


def test_a_town_that_ran_on_its_own_clock_comes_to_real_time() -> None:
    """Whoever ticks it next says which clock it has: a clock of real time would leave it alone without a word while it is ahead."""
    there = imported(("town", {"key": "clock", "value": '"own"'}))
    assert there.not_read == ()
    assert not summary.has_own_clock(there.image)


@pytest.mark.parametrize("key", sorted(town_keys.KEYS))
def test_every_key_of_a_new_town_is_known_to_an_import(key: str) -> None:
    """`clock` was added to towns and not to the import, which then reported that no town was read whole."""
    assert imported(("town", {"key": key, "value": json.dumps(town_keys.KEYS[key].new)})).not_read == ()
