"""The merge request that a poll is about, with what every step of the poll does to it."""

from dataclasses import dataclass

from shared.domain.config import EffectiveSettings
from shared.domain.notes import Change, ReviewNotes
from shared.domain.states import BeadStatus, BeadType
from shared.town import inbox, lookup
from shared.town.rows import Bead, Review
from shared.town.town import Town
from shared.town.writing import beads


@dataclass(frozen=True, slots=True)
class Polled:
    """The merge request as it was before the result was applied. It has a pull request and is in progress."""

    town: Town
    bead: Bead
    review: Review
    settings: EffectiveSettings
    pr_url: str

    @property
    def babysat(self) -> bool:
        """Whether its pull request existed before: it is babysat."""
        return ReviewNotes.babysit.of(self.bead.metadata)

    @property
    def now_stored(self) -> Bead:
        """The bead with what the steps before have noted."""
        return lookup.bead(self.town, self.bead.id) or self.bead

    def note(self, *changes: Change) -> None:
        """Store notes about the MR."""
        beads.note(self.town, self.bead.id, *changes)

    def append(self, event_type: str, **payload: object) -> None:
        """Append an event about the pull request to this drain."""
        given = {key: value for key, value in payload.items() if value is not None}
        inbox.append(self.town, event_type, {"pr_url": self.pr_url, **given}, bead_id=self.bead.id)

    def announce(self, name: str, **data: object) -> None:
        """Note a business event about the pull request."""
        self.town.business_event(name, {"bead_id": self.bead.id, "pr_url": self.pr_url, **data})


def polled(town: Town, bead_id: str | None, asked_url: str | None) -> Polled | None:
    """The MR of a poll, if it is in progress and still has the pull request that was asked about."""
    bead = lookup.bead(town, bead_id)
    if bead is None or bead.type is not BeadType.MERGE_REQUEST or bead.status is not BeadStatus.IN_PROGRESS:
        return None
    review = lookup.review(town, bead.id)
    if review is None or review.pr_url is None or asked_url not in (None, review.pr_url):
        return None
    return Polled(town, bead, review, town.settings(bead.rig_id), review.pr_url)
