"""One bead in full: its row, its metadata rows, its dependencies, and its audit trail."""

import json
import sqlite3
from typing import Any, Final, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from shared.domain.errors import Refused
from shared.ports.steps import Steps
from shared.ports.town_store import TownStore
from shared.town import database

AUDIT_SHOWN: Final = 200


class BeadRow(TypedDict):
    """A bead's own columns. `labels` and `metadata` are decoded; if they are damaged, their text is shown."""

    bead_id: str
    type: str
    status: str
    title: str
    body: str | None
    rig_id: str | None
    parent_bead_id: str | None
    assignee_agent_bead_id: str | None
    priority: str
    labels: Any
    metadata: Any
    dispatch_attempts: int
    last_dispatch_attempt_at: str | None
    last_dispatch_failed_at: str | None
    created_by: str | None
    created_at: str
    updated_at: str
    closed_at: str | None


class AgentOfBead(TypedDict):
    """The agent of an agent bead."""

    role: str
    identity: str
    status: str
    current_hook_bead_id: str | None
    generation: int
    last_activity_at: str | None
    agent_status_message: str | None


class ReviewOfBead(TypedDict):
    """The review of a merge request bead."""

    branch: str
    target_branch: str
    merge_commit: str | None
    pr_url: str | None
    retry_count: int


class ConvoyOfBead(TypedDict):
    """The convoy of a convoy bead."""

    total_beads: int
    closed_beads: int
    landed_at: str | None
    feature_branch: str | None
    merge_mode: str | None
    staged: int


class EscalationOfBead(TypedDict):
    """The escalation of an escalation bead."""

    severity: str
    category: str | None
    acknowledged: int
    re_escalation_count: int


class EdgeAnswer(TypedDict):
    """The bead at the other end of a dependency: its id and status, and the `type` of the dependency."""

    bead_id: str
    type: str
    status: str


class AuditLine(TypedDict):
    """One line of a bead's audit trail."""

    seq: int
    event_type: str
    agent_id: str | None
    old_value: str | None
    new_value: str | None
    created_at: str


class BeadAnswer(BeadRow):
    """A bead with its metadata row, its dependencies, and its newest audit lines, oldest first."""

    agent: NotRequired[AgentOfBead]
    review: NotRequired[ReviewOfBead]
    convoy: NotRequired[ConvoyOfBead]
    escalation: NotRequired[EscalationOfBead]
    depends_on: list[EdgeAnswer]
    dependents: list[EdgeAnswer]
    audit: list[AuditLine]


def _columns(shape: Any) -> tuple[str, ...]:
    """The field names of an answer type, which are the column names of its table."""
    return tuple(shape.__annotations__)


_BEAD: Final = _columns(BeadRow)
_AUDIT: Final = _columns(AuditLine)
_JSON: Final = ("labels", "metadata")
_BELONGING: Final = {
    "agent": ("agent_metadata", _columns(AgentOfBead)),
    "review": ("review_metadata", _columns(ReviewOfBead)),
    "convoy": ("convoy_metadata", _columns(ConvoyOfBead)),
    "escalation": ("escalation_metadata", _columns(EscalationOfBead)),
}


class BeadDocument(TypedDict):
    """One bead with its history."""

    townId: str
    bead: BeadAnswer


def bead(town_id: str, bead_id: str, store: TownStore) -> Steps[BeadDocument]:
    """One bead of a town, live or not, an agent or not. Raises UnknownTown, Refused (404)."""
    image = yield from store.load(town_id)
    with database.opened(image.content) as sql:
        database.check_identity(sql, town_id)
        found = bead_view(sql, bead_id)
    if found is None:
        raise Refused("there is no such bead", status=404, path="beadId", hint="the town's status lists its live beads")
    return {"townId": town_id, "bead": found}


def bead_view(sql: sqlite3.Connection, bead_id: str) -> BeadAnswer | None:
    """The bead, or None if it does not exist. Labels or metadata that are not valid JSON are shown as text."""
    row = sql.execute(f"SELECT {', '.join(_BEAD)} FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()  # noqa: S608
    if row is None:
        return None
    shown: Any = dict(zip(_BEAD, row, strict=True))
    shown |= {name: _decoded(shown[name]) for name in _JSON}
    for name, (table, columns) in _BELONGING.items():
        belonging = sql.execute(
            f"SELECT {', '.join(columns)} FROM {table} WHERE bead_id = :id",  # noqa: S608 - constants
            {"id": bead_id},
        ).fetchone()
        if belonging is not None:
            shown[name] = dict(zip(columns, belonging, strict=True))
    shown["depends_on"] = _edges(sql, bead_id, "bead_id", "depends_on_bead_id")
    shown["dependents"] = _edges(sql, bead_id, "depends_on_bead_id", "bead_id")
    shown["audit"] = _audit(sql, bead_id)
    found: BeadAnswer = shown
    return found


def _edges(sql: sqlite3.Connection, bead_id: str, here: str, there: str) -> list[EdgeAnswer]:
    rows = sql.execute(
        f"SELECT d.{there}, d.dependency_type, b.status FROM bead_dependencies d "  # noqa: S608 - constants
        f"JOIN beads b ON b.bead_id = d.{there} WHERE d.{here} = :id ORDER BY d.{there}",
        {"id": bead_id},
    ).fetchall()
    return [{"bead_id": other, "type": kind, "status": status} for other, kind, status in rows]


def _audit(sql: sqlite3.Connection, bead_id: str) -> list[AuditLine]:
    rows = sql.execute(
        f"SELECT {', '.join(_AUDIT)} FROM bead_events "  # noqa: S608 - constants
        "WHERE bead_id = :id ORDER BY seq DESC LIMIT :limit",
        {"id": bead_id, "limit": AUDIT_SHOWN},
    ).fetchall()
    lines: list[Any] = [dict(zip(_AUDIT, row, strict=True)) for row in reversed(rows)]
    return lines


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
