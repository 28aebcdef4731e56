"""Lists of reviews, escalations and rigs."""

import sqlite3
from collections.abc import Collection, Iterable
from typing import Final

from shared.domain.shapes import Time, answer
from shared.domain.states import BeadStatus, Priority
from shared.ports.steps import Steps
from shared.ports.town_store import TownImage, TownStore
from shared.questions.bead_list import Place, page, place_in, whole_page
from shared.questions.filters import LIMIT, BeadFilter, StatusFilter
from shared.questions.lines import lines_of
from shared.questions.totals import total_of
from shared.town import database, migrations

_REVIEW: Final = (
    "SELECT b.bead_id, b.status, b.title, b.rig_id, (SELECT MIN(d.depends_on_bead_id) FROM bead_dependencies d "
    "WHERE d.bead_id = b.bead_id AND d.dependency_type = 'tracks'), b.assignee_agent_bead_id, r.branch, r.target_branch, r.pr_url, "
    "r.merge_commit, r.retry_count, b.created_at, b.closed_at "
    "FROM beads b JOIN review_metadata r ON r.bead_id = b.bead_id WHERE b.bead_id = :id"
)
_ESCALATION: Final = (
    "SELECT b.bead_id, b.status, b.title, b.rig_id, e.severity, e.category, e.acknowledged, e.re_escalation_count, b.created_by, "
    "b.created_at, b.closed_at FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id WHERE b.bead_id = :id"
)
_RIGS: Final = (
    "SELECT g.id, g.name, g.git_url, g.default_branch, (SELECT COUNT(*) FROM beads b WHERE b.rig_id = g.id "
    "AND b.status IN ('open', 'in_progress', 'in_review') AND b.type = 'issue'), (SELECT COUNT(*) FROM beads b "
    "JOIN agent_metadata a ON a.bead_id = b.bead_id WHERE b.rig_id = g.id AND a.status IN ('working', 'stalled')) "
    "FROM rigs g ORDER BY g.id"
)


@answer
class ReviewEntry:
    """A merge request: `source` is the bead or convoy that it is about, `reviewer` the agent that it is assigned to."""

    bead_id: str
    status: BeadStatus
    title: str
    rig_id: str | None
    source: str | None
    reviewer: str | None
    branch: str
    target_branch: str
    pr_url: str | None
    merge_commit: str | None
    retry_count: int
    created_at: Time | None
    closed_at: Time | None


@answer
class ReviewList:
    """A page of merge requests, newest first. `next` is the `cursor` of the next page, null on the last one.

    `total` as in a list of beads.
    """

    town_id: str
    reviews: tuple[ReviewEntry, ...]
    next: str | None
    total: int | None = None


@answer
class EscalationEntry:
    """An escalation. What it says in full is the bead."""

    bead_id: str
    status: BeadStatus
    title: str
    rig_id: str | None
    severity: Priority
    category: str | None
    acknowledged: bool
    re_escalation_count: int
    created_by: str | None
    created_at: Time | None
    closed_at: Time | None


@answer
class EscalationList:
    """A page of escalations, newest first. `next` is the `cursor` of the next page, null on the last one.

    `total` as in a list of beads.
    """

    town_id: str
    escalations: tuple[EscalationEntry, ...]
    next: str | None
    total: int | None = None


@answer
class RigEntry:
    """A rig, with the numbers of its live issues and of its agents at work."""

    rig_id: str
    name: str
    git_url: str
    default_branch: str
    live_issues: int
    agents_at_work: int


@answer
class RigList:
    """Every rig of a town, in order of id."""

    town_id: str
    rigs: tuple[RigEntry, ...]


def reviews(
    town_id: str, store: TownStore, *, status: StatusFilter | None = None, limit: int = LIMIT, cursor: str | None = None
) -> Steps[ReviewList]:
    """A page of the merge requests of a town. Raises Refused (422) for a wrong cursor, UnknownTown."""
    place = place_in(cursor)
    image = yield from store.load(town_id)
    wanted = BeadFilter(status=status, type="merge_request")
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        found, following, total = yield from whole_page(sql, store, town_id, wanted, limit=limit, place=place)
        entries = review_entries(sql, (read.bead.bead_id for read in found))
        return ReviewList(town_id, entries, following, total)


def reviews_in(
    image: TownImage, *, status: StatusFilter | None, limit: int, place: Place, among: Collection[str] | None = None
) -> ReviewList:
    """The same for an image. `among` are the only ones that are listed; None: all."""
    wanted = BeadFilter(status=status, type="merge_request")
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        found, following = page(sql, wanted, limit=limit, place=place, among=among)
        entries = review_entries(sql, (read.bead.bead_id for read in found))
        return ReviewList(image.town_id, entries, following, total_of(sql, wanted) if among is None else None)


def escalations(
    town_id: str, store: TownStore, *, status: StatusFilter | None = None, limit: int = LIMIT, cursor: str | None = None
) -> Steps[EscalationList]:
    """A page of the escalations of a town. Raises Refused (422) for a wrong cursor, UnknownTown."""
    place = place_in(cursor)
    image = yield from store.load(town_id)
    wanted = BeadFilter(status=status, type="escalation")
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        found, following, total = yield from whole_page(sql, store, town_id, wanted, limit=limit, place=place)
        entries = escalation_entries(sql, (read.bead.bead_id for read in found))
        return EscalationList(town_id, entries, following, total)


def escalations_in(image: TownImage, *, status: StatusFilter | None, limit: int, place: Place) -> EscalationList:
    """The same for those that have not left the image."""
    wanted = BeadFilter(status=status, type="escalation")
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        found, following = page(sql, wanted, limit=limit, place=place)
        entries = escalation_entries(sql, (read.bead.bead_id for read in found))
        return EscalationList(image.town_id, entries, following, total_of(sql, wanted))


def review_entries(sql: sqlite3.Connection, bead_ids: Iterable[str]) -> tuple[ReviewEntry, ...]:
    """These merge requests of an open image, in the same order."""
    return lines_of(ReviewEntry, _rows(sql, _REVIEW, bead_ids))


def escalation_entries(sql: sqlite3.Connection, bead_ids: Iterable[str]) -> tuple[EscalationEntry, ...]:
    """These escalations of an open image, in the same order."""
    return lines_of(EscalationEntry, _rows(sql, _ESCALATION, bead_ids))


def rigs(town_id: str, store: TownStore) -> Steps[RigList]:
    """Every rig of a town. Raises UnknownTown."""
    image = yield from store.load(town_id)
    return rigs_in(image)


def rigs_in(image: TownImage) -> RigList:
    """The same for an image."""
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        return RigList(image.town_id, lines_of(RigEntry, sql.execute(_RIGS).fetchall()))


def _rows(sql: sqlite3.Connection, query: str, bead_ids: Iterable[str]) -> list[tuple[object, ...]]:
    rows = [sql.execute(query, {"id": bead_id}).fetchone() for bead_id in bead_ids]
    return [row for row in rows if row is not None]
