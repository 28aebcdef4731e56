"""One bead in full: its columns, its metadata, its dependencies, and its audit trail."""

import sqlite3
from typing import Any, Final, Literal, TypeVar

from shared.domain import strict_json
from shared.domain.errors import Refused
from shared.domain.shapes import Time, answer
from shared.domain.states import AgentStatus, BeadStatus, BeadType, MergeMode, Priority, Role
from shared.history.archived import fetch
from shared.ports.steps import Steps
from shared.ports.town_store import TownImage, TownStore
from shared.questions import spend
from shared.questions.lines import columns_of, line_of, lines_of
from shared.questions.lives import did_you_mean
from shared.questions.spend import Spend
from shared.town import database, migrations

T = TypeVar("T")

AUDIT_SHOWN: Final = 200

DependencyType = Literal["blocks", "tracks", "parent-child"]


@answer
class AgentOfBead:
    """The agent of an agent bead."""

    role: Role
    identity: str
    status: AgentStatus
    current_hook_bead_id: str | None
    generation: int
    last_activity_at: Time | None
    agent_status_message: str | None


@answer
class ReviewOfBead:
    """The review of a merge request bead."""

    branch: str
    target_branch: str
    merge_commit: str | None
    pr_url: str | None
    retry_count: int


@answer
class ConvoyOfBead:
    """The convoy of a convoy bead."""

    total_beads: int
    closed_beads: int
    landed_at: Time | None
    feature_branch: str | None
    merge_mode: MergeMode | None
    staged: bool


@answer
class EscalationOfBead:
    """The escalation of an escalation bead."""

    severity: Priority
    category: str | None
    acknowledged: bool
    re_escalation_count: int


@answer
class Edge:
    """The bead at the other end of a dependency: its id and status, and the `type` of the dependency."""

    bead_id: str
    type: DependencyType
    status: BeadStatus


@answer
class AuditLine:
    """One line of a bead's audit trail."""

    seq: int
    event_type: str
    agent_id: str | None
    old_value: str | None
    new_value: str | None
    created_at: Time | None
    said_by: str | None
    """The sender of the event that made the change, as its token says; null if the town made the change itself."""
    said_in: str | None
    """That event."""


@answer
class WholeBead:
    """A bead with its dependencies and its newest audit lines, oldest first.

    `labels` and `metadata` are decoded; if they are damaged, their text is shown. A time that cannot be read is null.
    """

    bead_id: str
    type: BeadType
    status: BeadStatus
    title: str
    body: str | None
    rig_id: str | None
    parent_bead_id: str | None
    assignee_agent_bead_id: str | None
    priority: Priority
    labels: Any
    metadata: Any
    dispatch_attempts: int
    last_dispatch_attempt_at: Time | None
    last_dispatch_failed_at: Time | None
    created_by: str | None
    created_at: Time | None
    updated_at: Time | None
    closed_at: Time | None
    agent: AgentOfBead | None
    review: ReviewOfBead | None
    convoy: ConvoyOfBead | None
    escalation: EscalationOfBead | None
    used: Spend | None
    """What was used for it, its reviews and follow-ups included; of a convoy, for all of its beads."""
    depends_on: tuple[Edge, ...]
    dependents: tuple[Edge, ...]
    audit: tuple[AuditLine, ...]


_BEAD: Final = columns_of(WholeBead)[: columns_of(WholeBead).index("agent")]
_JSON: Final = ("labels", "metadata")


@answer
class BeadAnswer:
    """One bead with its history. `archived`: it ended long ago and has left the town's image for its archive."""

    town_id: str
    bead: WholeBead
    archived: bool = False


def bead(town_id: str, bead_id: str, store: TownStore) -> Steps[BeadAnswer]:
    """One bead of a town, live, ended or archived, an agent or not. Raises UnknownTown, Refused (404), DamagedImage."""
    image = yield from store.load(town_id)
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        archived = yield from fetch(sql, store, town_id, [bead_id])
        found = bead_view(sql, bead_id)
        near = "" if found is not None else did_you_mean(sql, bead_id, is_agent=False)
    if found is None:
        raise _unknown(near)
    return BeadAnswer(town_id, found, archived=bool(archived))


def bead_in(image: TownImage, bead_id: str) -> BeadAnswer:
    """The same for a bead that has not left the image."""
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        found = bead_view(sql, bead_id)
    if found is None:
        raise _unknown()
    return BeadAnswer(image.town_id, found)


def _unknown(near: str = "") -> Refused:
    return Refused(
        "there is no such bead, neither in the town nor in its archive",
        status=404,
        path="beadId",
        hint=f"{near}the town's status lists its live beads, the list of beads all of them",
    )


def bead_view(sql: sqlite3.Connection, bead_id: str) -> WholeBead | None:
    """The bead, or None if it does not exist."""
    row = sql.execute(f"SELECT {', '.join(_BEAD)} FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()  # noqa: S608
    if row is None:
        return None
    return line_of(
        WholeBead,
        [_decoded(cell) if name in _JSON else cell for name, cell in zip(_BEAD, row, strict=True)],
        agent=_part(sql, "agent_metadata", AgentOfBead, bead_id),
        review=_part(sql, "review_metadata", ReviewOfBead, bead_id),
        convoy=_part(sql, "convoy_metadata", ConvoyOfBead, bead_id),
        escalation=_part(sql, "escalation_metadata", EscalationOfBead, bead_id),
        used=spend.of_bead(sql, row[1], bead_id),
        depends_on=_edges(sql, bead_id, "bead_id", "depends_on_bead_id"),
        dependents=_edges(sql, bead_id, "depends_on_bead_id", "bead_id"),
        audit=_audit(sql, bead_id),
    )


def _part(sql: sqlite3.Connection, table: str, shape: type[T], bead_id: str) -> T | None:
    """The row of another table that belongs to the bead; None if there is none."""
    query = f"SELECT {', '.join(columns_of(shape))} FROM {table} WHERE bead_id = :id"  # noqa: S608 - constants
    row = sql.execute(query, {"id": bead_id}).fetchone()
    return None if row is None else line_of(shape, row)


def _edges(sql: sqlite3.Connection, bead_id: str, here: str, there: str) -> tuple[Edge, ...]:
    rows = sql.execute(
        f"SELECT d.{there}, d.dependency_type, b.status FROM bead_dependencies d "  # noqa: S608 - constants
        f"JOIN beads b ON b.bead_id = d.{there} WHERE d.{here} = :id ORDER BY d.{there}",
        {"id": bead_id},
    ).fetchall()
    return lines_of(Edge, rows)


def _audit(sql: sqlite3.Connection, bead_id: str) -> tuple[AuditLine, ...]:
    rows = sql.execute(
        "SELECT seq, event_type, agent_id, old_value, new_value, created_at, "
        "IIF(json_valid(metadata), metadata ->> '$.said_by', NULL), IIF(json_valid(metadata), metadata ->> '$.said_in', NULL) "
        "FROM bead_events WHERE bead_id = :id ORDER BY seq DESC LIMIT :limit",
        {"id": bead_id, "limit": AUDIT_SHOWN},
    ).fetchall()
    return lines_of(AuditLine, reversed(rows))


def _decoded(text: str) -> Any:
    try:
        return strict_json.stored(text)
    except ValueError:
        return text
