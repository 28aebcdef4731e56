"""The journal: the input and the output of each tick. A replay needs nothing else. The table holds only the newest ticks."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from shared.domain import acted, canonical, limits, strict_json
from shared.domain.images import JournalBlock
from shared.domain.report import TickMetrics, TickReport
from shared.domain.restores import InPlaceRestore
from shared.domain.tick import TickInput
from shared.domain.times import text_or_none, to_text
from shared.town import packed_rows
from shared.town.town import Town


def record(town: Town, report: TickReport) -> None:
    """Write the row of this tick and the town keys that every tick sets."""
    given = report.input
    _insert(town.sql, given, given.as_json(), outputs_of(report))
    keys = town.keys
    keys.tick_no, keys.tick_id, keys.last_tick_at = given.tick_no, given.tick_id, given.now
    keys.next_seq, keys.next_audit_seq = town.next_event_seq, town.next_audit_seq
    keys.next_due_at = report.next_due
    if report.actions:
        keys.acted = acted.with_more(keys.acted, given.now, len(report.actions))


def record_restore(sql: sqlite3.Connection, given: TickInput, restore: InPlaceRestore) -> None:
    """Write the row of a restore in place. It has the fields of a tick that did nothing, and `inputs.restore`."""
    did = TickReport("", given, quiet=False, metrics=TickMetrics(), next_due=given.now)
    _insert(sql, given, {**given.as_json(), "restore": restore.as_json()}, outputs_of(did))


def _insert(
    sql: sqlite3.Connection, given: TickInput, inputs: Mapping[str, object], outputs: Mapping[str, object]
) -> None:
    short_inputs, short_outputs = packed_rows.packed(inputs, outputs)
    sql.execute(
        "INSERT INTO ticks (tick_no, tick_id, now, code_version, sqlite_version, config_digest, prev_image_digest, "
        "inputs, outputs) VALUES (:tick_no, :tick_id, :now, :code, :sqlite, :config, :previous, :inputs, :outputs)",
        {
            "tick_no": given.tick_no,
            "tick_id": given.tick_id,
            "now": to_text(given.now),
            "code": given.code_version,
            "sqlite": given.sqlite_version,
            "config": given.config_digest,
            "previous": given.prev_image_digest,
            "inputs": canonical.dumps(short_inputs),
            "outputs": canonical.dumps(short_outputs),
        },
    )


def outputs_of(report: TickReport) -> dict[str, object]:
    """The column `outputs` of a tick's row, decoded."""
    return {**report.outputs(), "next_due_at": text_or_none(report.next_due)}


def rows(sql: sqlite3.Connection, *, limit: int = 100, after: int = 0, oldest: bool = False) -> list[dict[str, Any]]:
    """At most `limit` journal rows after a tick, the newest or the oldest, in order of ticks, with decoded inputs and outputs."""
    return [packed_rows.row_in_full(record_) for record_ in _stored(sql, limit=limit, after=after, oldest=oldest)]


def _stored(sql: sqlite3.Connection, *, limit: int, after: int, oldest: bool = False) -> list[dict[str, Any]]:
    """Rows as they are stored: packed."""
    found = sql.execute(_OLDEST if oldest else _NEWEST, {"after": after, "limit": limit}).fetchall()
    records = [dict(zip(_COLUMNS, row, strict=True)) for row in (found if oldest else reversed(found))]
    for record_ in records:
        record_["inputs"] = strict_json.stored(record_["inputs"])
        record_["outputs"] = strict_json.stored(record_["outputs"])
    return records


def has_row(sql: sqlite3.Connection, tick_no: int) -> bool:
    """Whether the image has the row of a tick."""
    return sql.execute("SELECT 1 FROM ticks WHERE tick_no = :tick", {"tick": tick_no}).fetchone() is not None


def numbers(sql: sqlite3.Connection) -> set[int]:
    """The numbers of the ticks whose rows the image has."""
    return {row[0] for row in sql.execute("SELECT tick_no FROM ticks")}


_COLUMNS = (
    "tick_no",
    "tick_id",
    "now",
    "code_version",
    "sqlite_version",
    "config_digest",
    "prev_image_digest",
    "inputs",
    "outputs",
)
_SELECT = (
    "SELECT tick_no, tick_id, now, code_version, sqlite_version, config_digest, prev_image_digest, inputs, outputs "
    "FROM ticks WHERE tick_no > :after "
)
_NEWEST = _SELECT + "ORDER BY tick_no DESC LIMIT :limit"
_OLDEST = _SELECT + "ORDER BY tick_no LIMIT :limit"


def oldest_block(sql: sqlite3.Connection) -> JournalBlock | None:
    """The rows to move out of the image if the window is full (JOURNAL_WINDOW_ROWS or _BYTES); None if it is not full.

    A block is the oldest half of a window. Every later image that still has these rows yields the same bytes, so it does not
    matter which worker makes the block.
    """
    count, size = sql.execute(
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(inputs) + LENGTH(outputs)), 0) FROM ticks "
        "WHERE tick_no < (SELECT MAX(tick_no) FROM ticks)"
    ).fetchone()
    if count < limits.JOURNAL_WINDOW_ROWS and size <= limits.JOURNAL_WINDOW_BYTES:
        return None
    block: list[dict[str, object]] = []
    weight = 0
    for record_ in _stored(sql, limit=limits.JOURNAL_WINDOW_ROWS // 2, after=0, oldest=True):
        block.append(record_)
        weight += len(canonical.dumps(record_["inputs"])) + len(canonical.dumps(record_["outputs"]))
        if weight > limits.JOURNAL_WINDOW_BYTES // 2:
            break
    return _block_of(block)


def block_after(sql: sqlite3.Connection, published_to: int) -> JournalBlock | None:
    """All rows after a tick as one block; None if there are none."""
    found = _stored(sql, limit=1_000_000, after=published_to)
    return _block_of(found) if found else None


def block_of(sql: sqlite3.Connection, first: int, last: int) -> JournalBlock:
    """The rows of these ticks, which the image has, as one block."""
    return _block_of([row for row in _stored(sql, limit=1_000_000, after=first - 1) if row["tick_no"] <= last])


def _block_of(records: list[dict[str, Any]]) -> JournalBlock:
    body = canonical.dumps({"format": packed_rows.BLOCK_FORMAT, "ticks": records}).encode()
    return JournalBlock(records[0]["tick_no"], records[-1]["tick_no"], body)


def remove_published(town: Town, up_to: int, *, limit: int) -> int:
    """Delete rows that are in a published journal object, oldest first."""
    deleted = town.sql.execute(
        "DELETE FROM ticks WHERE tick_no IN (SELECT tick_no FROM ticks WHERE tick_no <= :up_to ORDER BY tick_no LIMIT :limit)",
        {"up_to": up_to, "limit": limit},
    )
    return deleted.rowcount
