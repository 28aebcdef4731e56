"""How the work of a town stands at a time, for a what-if, which compares two towns: each bead, orders under way, who is at work."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.domain import strict_json
from shared.domain.report import ClaimedEffect
from shared.domain.shapes import answer
from shared.domain.states import AgentStatus, BeadStatus, BeadType, EffectKind
from shared.domain.times import from_text
from shared.history.rerun import Rerun
from shared.questions.snapshot import given_at
from shared.questions.waiting import WaitingReason
from shared.questions.waits import Waits
from shared.town import migrations
from shared.town.database import Database


@answer
class BeadStanding:
    """The status of a bead and, if it waits, the reason, and the bead at the end of the chain for which it waits."""

    status: BeadStatus
    reason: WaitingReason | None
    behind: str | None


@dataclass(frozen=True, slots=True)
class BeadNow:
    """A bead of a town, and how it stands."""

    bead_id: str
    title: str
    standing: BeadStanding


def of_beads(running: Rerun, at: datetime) -> Mapping[str, BeadNow]:
    """How the issues, merge requests and convoys of a town stand at a time, by id, in order of creation."""
    with migrations.newest_schema(running.sql):
        waits = Waits(running.sql, given_at(running, at), town_id=running.town_id).of_beads
        rows = running.sql.execute(
            "SELECT bead_id, title, status FROM beads WHERE type IN (:issue, :review, :convoy) ORDER BY created_at, bead_id",
            {"issue": BeadType.ISSUE, "review": BeadType.MERGE_REQUEST, "convoy": BeadType.CONVOY},
        ).fetchall()
    found = {}
    for bead_id, title, status in rows:
        waiting = waits.get(bead_id)
        root = None if waiting is None or waiting.root is None else waiting.root.bead_id
        standing = BeadStanding(BeadStatus(status), None if waiting is None else waiting.reason, root)
        found[bead_id] = BeadNow(bead_id, title, standing)
    return found


def that_follow(sql: Database, beads: Iterable[str]) -> frozenset[str]:
    """These beads, and all whose end follows from theirs: what they block, their reviews and convoys."""
    found, new = set[str](), set(beads)
    while new:
        found |= new
        new = {each for bead_id in sorted(new) for each in _followers(sql, bead_id)} - found
    return frozenset(found)


def _followers(sql: Database, bead_id: str) -> Iterator[str]:
    yield from (
        row[0]
        for row in sql.execute(
            "SELECT d.bead_id FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id WHERE d.depends_on_bead_id = :id "
            "AND (d.dependency_type = 'blocks' OR (d.dependency_type = 'tracks' AND b.type = :review)) "
            "UNION SELECT depends_on_bead_id FROM bead_dependencies WHERE bead_id = :id AND dependency_type = 'tracks' ORDER BY 1",
            {"id": bead_id, "review": BeadType.MERGE_REQUEST},
        ).fetchall()
    )


def linked_to(sql: Database, bead_id: str) -> frozenset[str]:
    """The beads with which a bead has an edge, in either direction."""
    rows = sql.execute(
        "SELECT depends_on_bead_id FROM bead_dependencies WHERE bead_id = :id "
        "UNION SELECT bead_id FROM bead_dependencies WHERE depends_on_bead_id = :id ORDER BY 1",
        {"id": bead_id},
    ).fetchall()
    return frozenset(row[0] for row in rows)


def work_of(sql: Database, agent_id: str) -> tuple[str, int] | None:
    """The bead on which an agent works, and its generation; None if it does not work."""
    row = sql.execute(
        "SELECT current_hook_bead_id, generation, status FROM agent_metadata WHERE bead_id = :agent",
        {"agent": agent_id},
    ).fetchone()
    return None if row is None or row[0] is None or not AgentStatus(row[2]).busy else (row[0], row[1])


def claimed_effects(sql: Database) -> tuple[ClaimedEffect, ...]:
    """The effects that are claimed, with their orders, in order of creation."""
    rows = sql.execute(
        "SELECT effect_id, kind, subject, generation, attempts, seq, payload, deadline FROM outbox "
        "WHERE state = 'claimed' ORDER BY seq"
    ).fetchall()
    return tuple(
        ClaimedEffect(
            effect_id=row[0],
            kind=EffectKind(row[1]),
            subject=row[2],
            generation=row[3],
            attempt=row[4],
            seq=row[5],
            payload=strict_json.stored(row[6]),
            deadline=from_text(row[7]),
        )
        for row in rows
    )
