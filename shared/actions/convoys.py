"""Actions on convoys: progress, landing, closing, failing."""

from dataclasses import dataclass
from typing import ClassVar, Final

from shared.actions.base import Action, Want, outcome_of
from shared.domain.notes import BeadNotes, ConvoyNotes
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, TERMINAL, ActionOutcome, Applied, Failed
from shared.domain.states import SYSTEM, BeadStatus, BeadType
from shared.town import belonging, lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import beads, convoys, reviews, rigs
from shared.town.writing.beads import Failure

NO_WORK_SUCCEEDED: Final = "no work succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConvoyProgress(Action):
    """Store the progress of a convoy. `closed_beads` is the count that the rule saw; the beads are counted again."""

    type: ClassVar[str] = "update_convoy_progress"

    convoy_id: str
    closed_beads: int

    def apply(self, town: Town) -> ActionOutcome:
        """Count and store."""
        if not lookup.is_convoy(town, self.convoy_id):
            return MISSING
        return Applied() if convoys.record_progress(town, self.convoy_id) else ALREADY


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConvoyReadyToLand(Action):
    """Mark a convoy whose tasks are done as ready to land; a later tick starts the landing."""

    type: ClassVar[str] = "set_convoy_ready_to_land"

    convoy_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Set the flag of a live convoy."""
        convoy = _convoy(town, self.convoy_id)
        if convoy is None:
            return MISSING
        if not convoy.live:
            return TERMINAL
        if ConvoyNotes.ready_to_land.of(convoy.metadata):
            return ALREADY
        beads.note(town, convoy.id, ConvoyNotes.ready_to_land.to(True))
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateLandingMr(Action):
    """Create the MR that lands the feature branch of a convoy."""

    type: ClassVar[str] = "create_landing_mr"

    convoy_id: str
    rig_id: str
    feature_branch: str
    target_branch: str

    def apply(self, town: Town) -> ActionOutcome:
        """Count the attempt and create the MR, unless the convoy is closed, failed or already being landed.

        The MR takes over the pull request that an earlier attempt left open: a forge takes one for a branch and its target.
        """
        convoy = _convoy(town, self.convoy_id)
        if convoy is None:
            return MISSING
        if not convoy.live or lookup.live_reviews_of(town, convoy.id):
            return MOVED_ON
        if not rigs.exists(town, self.rig_id):
            return Failed("no rig")
        attempts = ConvoyNotes.landing_mr_attempts
        beads.note(
            town,
            convoy.id,
            attempts.to(attempts.of(convoy.metadata) + 1),
            ConvoyNotes.last_landing_mr_attempt_at.to(town.tick.now),
        )
        reviews.submit(
            town,
            convoy,
            self.feature_branch,
            by=SYSTEM,
            pr_url=reviews.open_pull_request_of(
                town, convoy.id, branch=self.feature_branch, target_branch=self.target_branch
            ),
            rig_id=self.rig_id,
            target_branch=self.target_branch,
        )
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseConvoy(Action):
    """Close a convoy that has landed, or whose tasks are all done."""

    type: ClassVar[str] = "close_convoy"

    convoy_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Close it, and note when it landed. Work that joined in the meantime keeps it open."""
        if not lookup.is_convoy(town, self.convoy_id):
            return MISSING
        if belonging.has_live_task(town, self.convoy_id):
            return MOVED_ON
        moved = beads.move(town, self.convoy_id, BeadStatus.CLOSED, reason="landed")
        if moved == "moved":
            convoys.set_landed(town, self.convoy_id)
        return outcome_of(moved)

    def wants(self) -> tuple[Want, ...]:
        """The convoy closed."""
        return ((("bead", self.convoy_id), BeadStatus.CLOSED.value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailConvoy(Action):
    """Fail a convoy that cannot land."""

    type: ClassVar[str] = "fail_convoy"

    convoy_id: str
    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Fail it, and store the reason in its metadata, where status shows it."""
        if not lookup.is_convoy(town, self.convoy_id):
            return MISSING
        failure = Failure("reconciler", self.reason, "scheduler")
        moved = beads.move(town, self.convoy_id, BeadStatus.FAILED, reason=self.reason, failure=failure)
        if moved == "moved":
            code = "no_work_succeeded" if self.reason == NO_WORK_SUCCEEDED else "landing_mr_exhausted"
            beads.note(
                town, self.convoy_id, BeadNotes.failure_reason.to(code), BeadNotes.failure_message.to(self.reason)
            )
        return outcome_of(moved)

    def wants(self) -> tuple[Want, ...]:
        """The convoy failed."""
        return ((("bead", self.convoy_id), BeadStatus.FAILED.value),)


def _convoy(town: Town, convoy_id: str) -> Bead | None:
    bead = lookup.bead(town, convoy_id)
    return bead if bead is not None and bead.type is BeadType.CONVOY else None
