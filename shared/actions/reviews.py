"""Actions on merge requests and their pull requests."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, outcome_of_request
from shared.domain.notes import ReviewNotes
from shared.domain.orders import PollOrder
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, TERMINAL, ActionOutcome, Applied, Failed, Skipped
from shared.domain.repositories import name_of, repository_at
from shared.domain.states import SYSTEM, BeadStatus, BeadType
from shared.town import lookup
from shared.town.rows import Bead, Rig
from shared.town.town import Town
from shared.town.writing import agents, beads, reviews, rigs


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMrBead(Action):
    """Submit a source for review. No rule uses this action."""

    type: ClassVar[str] = "create_mr_bead"

    source_bead_id: str
    agent_id: str
    rig_id: str
    branch: str
    target_branch: str
    pr_url: str | None = None
    summary: str | None = None

    def apply(self, town: Town) -> ActionOutcome:
        """Create the MR with this rig and target."""
        source = lookup.bead(town, self.source_bead_id)
        if source is None or (self.agent_id != SYSTEM and not agents.exists(town, self.agent_id)):
            return MISSING
        if not source.live:
            return TERMINAL
        if not rigs.exists(town, self.rig_id):
            return Failed("no rig")
        reviews.submit(
            town,
            source,
            self.branch,
            by=self.agent_id,
            pr_url=self.pr_url,
            summary=self.summary,
            rig_id=self.rig_id,
            target_branch=self.target_branch,
        )
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseSiblingMrs(Action):
    """Close the other live MRs of a source. No rule uses this action."""

    type: ClassVar[str] = "close_sibling_mrs"

    source_bead_id: str
    exclude_mr_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Close each of them."""
        if not lookup.exists(town, self.source_bead_id):
            return MISSING
        siblings = [one for one in lookup.live_reviews_of(town, self.source_bead_id) if one != self.exclude_mr_id]
        for sibling in siblings:
            beads.move(town, sibling, BeadStatus.CLOSED, reason=f"superseded by {self.exclude_mr_id}")
        return Applied() if siblings else ALREADY


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReviewPrUrl(Action):
    """Set the pull request of an MR. No rule uses this action."""

    type: ClassVar[str] = "set_review_pr_url"

    bead_id: str
    pr_url: str

    def apply(self, town: Town) -> ActionOutcome:
        """Store an https address in the review metadata and in the bead's metadata."""
        if not reviews.valid_pr_url(self.pr_url):
            return Failed("the pull request address is not https")
        bead, review = lookup.bead(town, self.bead_id), lookup.review(town, self.bead_id)
        if bead is None or review is None:
            return MISSING
        if not bead.live:
            return TERMINAL
        if review.pr_url == self.pr_url and ReviewNotes.pr_url.of(bead.metadata) == self.pr_url:
            return ALREADY
        reviews.set_pr_url(town, self.bead_id, self.pr_url)
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPr(Action):
    """Ask the forge for the state of a pull request."""

    type: ClassVar[str] = "poll_pr"

    bead_id: str
    pr_url: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request the poll, and start the next poll interval."""
        bead = in_progress(town, self.bead_id, self.pr_url)
        if isinstance(bead, Skipped):
            return bead
        settings, rig = town.settings(bead.rig_id), town.rig(bead.rig_id)
        order = PollOrder(
            town_id=town.tick.town_id,
            bead_id=bead.id,
            pr_url=self.pr_url,
            rig_id=bead.rig_id,
            rig_host=host_of(rig),
            want_feedback=True,
            rig_repository=None if rig is None else name_of(rig.git_url),
            upstream=None if settings.upstream is None else name_of(settings.upstream) or settings.upstream,
        )
        outcome = outcome_of_request(town, order, bead.id, town.tick.number)
        if isinstance(outcome, Applied):
            beads.touch(town, bead.id)
            beads.note(town, bead.id, ReviewNotes.last_poll_at.to(town.tick.now), ReviewNotes.poll_not_before.gone)
        return outcome


def host_of(rig: Rig | None) -> str | None:
    """The host of the rig's forge. Together with the rig, it decides which token is used."""
    repository = None if rig is None else repository_at(rig.git_url)
    return None if repository is None else repository.host


def in_progress(town: Town, bead_id: str, pr_url: str) -> Bead | Skipped:
    """The MR, if it is still in progress and has that pull request; else why the action is skipped."""
    bead, review = lookup.bead(town, bead_id), lookup.review(town, bead_id)
    if bead is None or review is None or bead.type is not BeadType.MERGE_REQUEST:
        return MISSING
    return bead if bead.status is BeadStatus.IN_PROGRESS and review.pr_url == pr_url else MOVED_ON
