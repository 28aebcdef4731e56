"""Which beads a convoy tracks, and what it means for its landing that one joins or leaves (spec/data-model.md 3.17)."""

from datetime import datetime
from typing import Final

from shared.domain.notes import ConvoyNotes
from shared.domain.states import BeadStatus, BeadType
from shared.town import lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, convoys, hooks, reviews
from shared.town.writing.beads import Failure

SUPERSEDED: Final = "superseded"
"""The failure code of a landing MR that was replaced because work joined its convoy."""


def join(town: Town, bead_id: str, convoy: Bead) -> None:
    """Let a convoy track a bead. A closed convoy takes nothing any more, so the bead stands alone.

    A new bead, one that convoy_changed adds and one that is reopened all come through here.
    """
    if convoy.status is BeadStatus.CLOSED:
        leave(town, bead_id, convoy.id, why="the convoy is closed")
        return
    beads.add_edge(town, bead_id, convoy.id, "tracks")
    convoys.record_progress(town, convoy.id)
    bead = lookup.bead(town, bead_id)
    if bead is not None and bead.type is BeadType.ISSUE:
        _land_again(town, convoy)
        reviews.retarget(town, bead)


def rejoin(town: Town, bead_id: str) -> None:
    """Tell its convoy, if it has one, that a bead is live again."""
    found = lookup.convoy_of(town, bead_id)
    convoy = None if found is None else lookup.bead(town, found[0])
    if convoy is not None:
        join(town, bead_id, convoy)


def leave(town: Town, bead_id: str, convoy_id: str, *, why: str, actor: str | None = None) -> None:
    """Take a bead out of a convoy. Its work goes to the default branch of its rig from now on, and its audit trail says so."""
    beads.remove_edge(town, bead_id, convoy_id)
    convoys.record_progress(town, convoy_id)
    bead = lookup.bead(town, bead_id)
    target = None if bead is None else reviews.default_target(town, bead.rig_id, None)
    said = {"fields": ["convoy"], "why": why, "target_branch": target}
    audit.record(town, bead_id, "fields_updated", agent_id=actor, old=convoy_id, metadata=said)
    if bead is not None and bead.type is BeadType.ISSUE:
        reviews.retarget(town, bead)


def land_anew(town: Town, convoy_id: str, *, after: datetime) -> None:
    """Let only landing MRs count that are created after a time, and forget the attempts before."""
    beads.note(
        town,
        convoy_id,
        ConvoyNotes.lands_after.to(after),
        ConvoyNotes.landing_mr_attempts.gone,
        ConvoyNotes.last_landing_mr_attempt_at.gone,
        ConvoyNotes.respawn_suppressed_attempt.gone,
    )


def _land_again(town: Town, convoy: Bead) -> None:
    """Begin the landing anew, because the convoy has work again: nothing that was landed before contains it."""
    # A landing that is under way is replaced, not continued: its refinery would merge a branch to which the new work is still
    # being added. Example: m is reviewed when t joins. m fails as superseded and its refinery is stopped. When t has been merged
    # into the feature branch, the convoy gets a new landing MR, which takes over the pull request of m.
    land_anew(town, convoy.id, after=town.tick.now)
    beads.note(town, convoy.id, ConvoyNotes.ready_to_land.gone)
    failure = Failure(SUPERSEDED, "work joined the convoy, which lands again when it is done", "scheduler")
    for landing in lookup.live_reviews_of(town, convoy.id):
        if beads.move(town, landing, BeadStatus.FAILED, reason=SUPERSEDED, failure=failure) == "moved":
            hooks.release(town, landing, reason=failure.message)


def part_from_closed_convoy(town: Town, bead_id: str) -> None:
    """Take a bead out of its convoy if that is closed: nothing lands its feature branch any more."""
    found = lookup.convoy_of(town, bead_id)
    convoy = None if found is None else lookup.bead(town, found[0])
    if convoy is not None and convoy.status is BeadStatus.CLOSED:
        leave(town, bead_id, convoy.id, why="the convoy is closed")
