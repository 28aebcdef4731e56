"""What each tick was given and what it did: the material of replay. The table is a window on the newest ticks."""

import json
from typing import Any

from shared.domain import canonical
from shared.domain.report import TickReport
from shared.domain.times import to_text
from shared.town.town import Town


def record(town: Town, report: TickReport) -> None:
    """Write the row of this tick and the town keys that follow from it."""
    given = report.input
    next_due = None if report.next_due is None else to_text(report.next_due)
    town.sql.execute(
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
            "inputs": canonical.dumps(given.as_json()),
            "outputs": canonical.dumps({**report.outputs(), "next_due_at": next_due}),
        },
    )
    town.put("tick_no", given.tick_no)
    town.put("tick_id", given.tick_id)
    town.put("last_tick_at", to_text(given.now))
    town.put("next_seq", town.next_event_seq)
    town.put("next_audit_seq", town.next_audit_seq)
    town.put("next_due_at", next_due)


def rows(town_sql: Any, *, limit: int = 100, after: int = 0) -> list[dict[str, Any]]:
    """The newest journal rows with a greater tick number, oldest first, inputs and outputs decoded."""
    found = town_sql.execute(
        "SELECT tick_no, tick_id, now, code_version, sqlite_version, config_digest, prev_image_digest, inputs, outputs "
        "FROM ticks WHERE tick_no > :after ORDER BY tick_no DESC LIMIT :limit",
        {"after": after, "limit": limit},
    ).fetchall()
    names = (
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
    records = [dict(zip(names, row, strict=True)) for row in reversed(found)]
    for record_ in records:
        record_["inputs"] = json.loads(record_["inputs"])
        record_["outputs"] = json.loads(record_["outputs"])
    return records


def remove_published(town: Town, up_to: int, *, limit: int) -> int:
    """Delete rows that a published journal object covers, oldest first."""
    deleted = town.sql.execute(
        "DELETE FROM ticks WHERE tick_no IN (SELECT tick_no FROM ticks WHERE tick_no <= :up_to ORDER BY tick_no LIMIT :limit)",
        {"up_to": up_to, "limit": limit},
    )
    return deleted.rowcount
