"""Everything that a page about one town shows, of one commit: now, or as it was at a past time.

It is the status with what lists, reviews and dependencies add to it. So nothing on a page is of another commit than the rest.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.domain.errors import Refused
from shared.domain.shapes import Time, answer
from shared.domain.states import BeadType
from shared.domain.times import to_text
from shared.history import as_it_was
from shared.history.rerun import Rerun, rerun
from shared.images import summary
from shared.ports.steps import Call, Steps
from shared.ports.town_past import TownPast
from shared.ports.town_store import CommitFacts, TownImage
from shared.questions import beside as beside_image
from shared.questions import failures, present, snapshot, spend, status, town_lists
from shared.questions.bead_list import BeadEntry, labels_of
from shared.questions.bead_view import DependencyType
from shared.questions.beside import Beside
from shared.questions.failures import OpenLogs
from shared.questions.lines import line_of, lines_of
from shared.questions.present import ComingAct
from shared.questions.status import TownStatus
from shared.questions.town_lists import EscalationEntry, ReviewEntry
from shared.questions.waits import Waits
from shared.runner.code_version import code_version
from shared.runner.surroundings import Surroundings
from shared.town import database, migrations
from shared.town.database import Database

CLOSED_SHOWN: Final = 50
COMING_SHOWN: Final = 50
FORESEEN: Final = 200
"""The beads that wait for time, soonest first, of which the first act of the rules is sought."""
_SHOWN: Final = (
    "WITH live AS (SELECT bead_id FROM beads "
    "WHERE type IN ('issue', 'message', 'escalation', 'merge_request', 'convoy', 'molecule') "
    "AND status IN ('open', 'in_progress', 'in_review')), "
    "ended AS (SELECT bead_id FROM beads WHERE type IN ('issue', 'merge_request', 'convoy') AND status = 'closed' "
    "ORDER BY closed_at DESC, bead_id LIMIT :closed), "
    "failed AS (SELECT bead_id FROM beads WHERE type IN ('issue', 'merge_request', 'convoy') AND status = 'failed' "
    "ORDER BY updated_at DESC, bead_id LIMIT :closed), "
    "of_convoys AS (SELECT d.bead_id FROM bead_dependencies d JOIN live l ON l.bead_id = d.depends_on_bead_id "
    "JOIN beads c ON c.bead_id = d.depends_on_bead_id AND c.type = 'convoy' WHERE d.dependency_type = 'tracks') "
    "SELECT b.bead_id, b.type, b.status, b.title, b.rig_id, b.parent_bead_id, b.assignee_agent_bead_id, b.priority, "
    "b.created_at, b.updated_at, b.closed_at, b.dispatch_attempts, (SELECT MAX(d.depends_on_bead_id) FROM bead_dependencies d "
    "JOIN beads c ON c.bead_id = d.depends_on_bead_id AND c.type = 'convoy' "
    "WHERE d.bead_id = b.bead_id AND d.dependency_type = 'tracks'), b.labels "
    "FROM beads b WHERE b.bead_id IN (SELECT bead_id FROM live UNION SELECT bead_id FROM ended UNION SELECT bead_id FROM failed "
    "UNION SELECT bead_id FROM of_convoys) ORDER BY b.created_at, b.bead_id"
)
_EDGES: Final = (
    "SELECT d.bead_id, d.depends_on_bead_id, d.dependency_type FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id "
    "WHERE b.status IN ('open', 'in_progress', 'in_review') OR d.bead_id IN (SELECT e.bead_id FROM bead_dependencies e "
    "JOIN beads c ON c.bead_id = e.depends_on_bead_id AND c.type = 'convoy' "
    "AND c.status IN ('open', 'in_progress', 'in_review') WHERE e.dependency_type = 'tracks') ORDER BY 1, 2, 3"
)


@answer
class ViewedBead(BeadEntry):
    """A bead, for pages: with the number of starts that were tried for it, and the convoy that tracks it."""

    attempts: int
    convoy: str | None


@answer
class ViewedEdge:
    """A dependency: `beadId` waits for `dependsOn` (blocks), is part of it (tracks), or belongs below it (parent-child)."""

    bead_id: str
    depends_on: str
    kind: DependencyType


@answer
class TownView:
    """A town at the time `at`; `isPast` says that it is a past time, whose state was found by running recorded ticks again.

    `beads` are the live ones, those of live convoys, and the newest 50 closed and 50 failed ones. `comes` are the first acts of
    the rules on each bead and agent if nothing else happens, earliest first, at most 50; `comesOmitted` counts the others.
    """

    status: TownStatus
    at: Time
    is_past: bool
    code_version: str
    beads: tuple[ViewedBead, ...]
    edges: tuple[ViewedEdge, ...]
    reviews: tuple[ReviewEntry, ...]
    escalations: tuple[EscalationEntry, ...]
    comes: tuple[ComingAct, ...]
    comes_omitted: int
    notes: tuple[str, ...]


def town_view(
    town_id: str, around: Surroundings, past: TownPast, *, at: datetime | None = None, logs: OpenLogs | None = None
) -> Steps[TownView]:
    """The town now, or as it was; now with the last words of failed agents, from `logs`.

    Raises Refused (400) if `at` is in the future or before the kept history, UnknownTown.
    """
    if at is not None:
        return (yield from _past_view(town_id, around, past, at))
    image = yield from around.store.load(town_id)
    beside = yield from beside_image.beside_the_image(town_id, around)
    with migrations.readable(image.image) as sql:
        database.check_identity(sql, town_id)
        found, waits = status.seen(sql, image, beside, beside_image.present_input(sql, image, around, beside.now))
        view = _view(sql, found, waits, at=beside.now, notes=())
    return (yield from _with_failures_told(view, logs, past))


def _past_view(town_id: str, around: Surroundings, past: TownPast, at: datetime) -> Steps[TownView]:
    now: datetime = yield Call("clock", around.clock.now)
    if at > now:
        raise Refused(
            f"at is in the future: {to_text(at)}; the present time is {to_text(now)}",
            status=400,
            path="at",
            hint="omit `at` for the present",
        )
    start = yield from as_it_was.image_at(town_id, past, at)
    with rerun(start) as running:
        notes = yield from as_it_was.roll_forward(running, past, at, installed=code_version())
        with migrations.newest_schema(running.sql):
            given = snapshot.given_at(running, at)
            image = _image_of(running, start.committed_at)
            found, waits = status.seen(running.sql, image, Beside(at), given)
            view = replace(_view(running.sql, found, waits, at=at, notes=tuple(notes)), is_past=True)
    return (yield from _with_failures_told(view, None, past))


def _with_failures_told(view: TownView, logs: OpenLogs | None, past: TownPast) -> Steps[TownView]:
    found = view.status
    told = yield from failures.told(found.town_id, found.failed, logs, lambda: past, last_tick=found.as_of.tick)
    return replace(view, status=replace(found, failed=told))


def _image_of(running: Rerun, committed_at: datetime) -> TownImage:
    """The state of a rerun as an image of the store, which never held it in this form: so it has no ETag."""
    about = summary.before_tick(running.sql)
    facts = CommitFacts(
        commit_id="",
        tick_no=running.tick_no,
        time=about.last_tick_at or committed_at,
        next_due=about.next_due,
        schema_version=database.SCHEMA_VERSION,
    )
    return TownImage(running.town_id, running.image, "", running.txid, running.digest, facts)


def _view(sql: Database, found: TownStatus, waits: Waits, *, at: datetime, notes: tuple[str, ...]) -> TownView:
    comes = tuple(_coming(waits))
    beads = tuple(_beads(sql))
    reviews = [bead.bead_id for bead in beads if bead.type is BeadType.MERGE_REQUEST]
    escalations = [bead.bead_id for bead in beads if bead.type is BeadType.ESCALATION]
    return TownView(
        status=found,
        at=at,
        is_past=False,
        code_version=code_version(),
        beads=beads,
        edges=lines_of(ViewedEdge, sql.execute(_EDGES).fetchall()),
        reviews=town_lists.review_entries(sql, reviews),
        escalations=town_lists.escalation_entries(sql, escalations),
        comes=comes[:COMING_SHOWN],
        comes_omitted=max(len(comes) - COMING_SHOWN, 0),
        notes=notes,
    )


def _beads(sql: Database) -> Iterator[ViewedBead]:
    for row in sql.execute(_SHOWN, {"closed": CLOSED_SHOWN}).fetchall():
        *cells, attempts, convoy, labels = row
        used = spend.of_bead(sql, cells[1], cells[0])
        yield line_of(ViewedBead, cells, labels=labels_of(labels), used=used, attempts=attempts, convoy=convoy)


def _coming(waits: Waits) -> list[ComingAct]:
    """The first acts of the rules on what is worked on, on agents, and on the beads that time moves; each act once."""
    timed = sorted((each.due_at, each.bead_id) for each in waits.of_beads.values() if each.due_at is not None)
    rows = {bead_id: waits.rows[bead_id].subjects for _, bead_id in timed[:FORESEEN]}
    rows |= {row.id: row.subjects for row in waits.rows.values() if row.worked_on}
    rows |= {agent.id: frozenset((agent.id,)) for agent in waits.town.agents}
    found: dict[str, ComingAct] = {}
    for outlook in waits.foresight.outlooks(rows).values():
        for act in outlook.acts[:1]:
            coming = present.coming(act)
            found.setdefault(f"{act.at} {act.name} {sorted(act.action.items(), key=str)}", coming)
    return sorted(found.values(), key=lambda coming: (coming.due_at, coming.name))
