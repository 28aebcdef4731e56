"""Live beads as rules see them: only the columns that rules need, checked when read. Titles and bodies stay in the database."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from shared.domain import limits, quoting
from shared.domain.errors import RowUnreadable
from shared.domain.notes import EscalationNotes, MailNotes, Metadata, ReviewNotes
from shared.domain.states import BeadStatus, MergeMode, Priority
from shared.domain.times import from_text, time_or_none
from shared.domain.usage import Usage
from shared.town.rows import BEAD_STATUSES, Row, labels_of, member, object_of


class Issue(NamedTuple):
    """A live issue."""

    id: str
    status: BeadStatus
    rig_id: str | None
    assignee: str | None
    labels: tuple[str, ...]
    metadata: Metadata
    dispatch_attempts: int
    last_dispatch_attempt_at: datetime | None
    created_by: str | None
    created_at: datetime
    updated_at: datetime
    priority: Priority
    review_id: str | None = None
    """The merge request that it follows up, if it is a follow-up."""
    was_submitted: bool = False
    """Whether the work of its last attempt was submitted to a review."""

    @property
    def queued_at(self) -> datetime:
        """Since when it waits for a place: its creation, or the last attempt, if that ended without work to review."""
        return self.created_at if self.was_submitted else self.last_dispatch_attempt_at or self.created_at


class UsageSum(NamedTuple):
    """What was used for a live bead, in a live convoy, or on a day."""

    kind: str
    subject: str
    used: Usage
    told: str | None
    spent_since: datetime | None


@dataclass(frozen=True, slots=True)
class LiveReview:
    """A merge request that is open or in progress, with its review metadata.

    `parent_mode` is the merge mode of the convoy that is its parent, or, if it has no parent, of the convoy with the id in
    metadata.convoy_id; None if there is no such convoy. `priority` is that of its source, or its own without a source.
    """

    id: str
    status: BeadStatus
    rig_id: str | None
    parent_id: str | None
    metadata: Metadata
    dispatch_attempts: int
    last_dispatch_attempt_at: datetime | None
    created_by: str | None
    created_at: datetime
    updated_at: datetime
    branch: str
    target_branch: str
    pr_url: str | None
    parent_mode: MergeMode | None
    labels: tuple[str, ...]
    priority: Priority

    @property
    def queued_at(self) -> datetime:
        """Since when it waits for its turn: its creation. The refinery of a rig goes on with a review until that can only wait."""
        return self.created_at

    @property
    def babysat(self) -> bool:
        """Whether its pull request existed before: it is babysat."""
        return ReviewNotes.babysit.of(self.metadata)

    @property
    def claimed(self) -> bool:
        """Whether a refinery has reported it as merged, and nobody has seen that yet."""
        return ReviewNotes.merge_claim.of(self.metadata) is not None

    @property
    def under_review(self) -> bool:
        """Whether it is in the hands of its rig's refinery: in progress, without a pull request, and not reported as merged."""
        return self.status is BeadStatus.IN_PROGRESS and self.pr_url is None and not self.claimed

    @property
    def awaiting_approval(self) -> bool:
        """Whether it only lacks a person's approval."""
        return ReviewNotes.awaiting_approval.of(self.metadata)


@dataclass(frozen=True, slots=True)
class Blocker:
    """A bead that blocks a live one. An unreadable bead blocks too, and so does one that does not exist yet."""

    id: str
    dependent_id: str
    status: str
    labels: tuple[str, ...]
    notified: bool
    exists: bool = True


@dataclass(frozen=True, slots=True)
class OpenConvoy:
    """An open convoy with the counts of its tracked issues."""

    id: str
    metadata: Metadata
    stored_total: int
    stored_done: int
    feature_branch: str | None
    merge_mode: MergeMode | None
    staged: bool
    total: int
    done: int
    failed: int
    first_rig: str | None
    updated_at: datetime

    @property
    def lands(self) -> bool:
        """Whether it ends with a landing MR. Without a merge mode, review-then-land applies."""
        mode = self.merge_mode or MergeMode.REVIEW_THEN_LAND
        return mode is MergeMode.REVIEW_THEN_LAND and self.feature_branch is not None


@dataclass(frozen=True, slots=True)
class LandingReview:
    """An MR bead of any status that tracks an open convoy, and contains all of its work."""

    id: str
    convoy_id: str
    status: BeadStatus
    awaiting_approval: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """How many live and how many closed MRs an issue in review has."""

    issue_id: str
    live: int
    closed: int


@dataclass(frozen=True, slots=True)
class OpenEscalation:
    """A live escalation that was not acknowledged and may be raised again."""

    bead_id: str
    title: str
    severity: Priority
    bumps: int
    created_at: datetime


class CausedEscalation(NamedTuple):
    """A live escalation that a rule raised, with the two parts of its cause."""

    bead_id: str
    reason: str
    subject: str


@dataclass(frozen=True, slots=True)
class Mail:
    """An open message bead. `told`: how often its delivery was requested, last at `told_at`."""

    id: str
    title: str
    body: str | None
    assignee: str | None
    created_by: str | None
    told: int
    told_at: datetime | None

    @property
    def again_after(self) -> timedelta:
        """How long after a request that has failed the next one follows."""
        return limits.MAIL_AGAIN_AFTER if self.told < 2 else limits.MAIL_AGAIN_LATER

    @property
    def letter(self) -> str:
        """What its addressee reads: whose message it is, and what that one wrote, quoted."""
        sender = "" if self.created_by is None else f" from {quoting.name(self.created_by)}"
        text = self.title if self.body is None else f"{self.title}\n\n{self.body}"
        return f"Message {quoting.name(self.id)}{sender}:\n{quoting.block(text)}"


def issue_of(row: Row) -> Issue:
    """An Issue from the columns of its query. Raises ValueError."""
    return Issue(
        row[0],
        member(BEAD_STATUSES, row[1]),
        row[2],
        row[3],
        labels_of(row[4]),
        object_of(row[5]),
        row[6],
        time_or_none(row[7]),
        row[8],
        from_text(row[9]),
        from_text(row[10]),
        Priority(row[11]),
        row[12],
        bool(row[13]),
    )


def sum_of(row: Row) -> UsageSum:
    """A UsageSum from the columns of its query. Raises ValueError."""
    return UsageSum(row[0], row[1], Usage(*row[2:7]), row[7], time_or_none(row[8]))


def review_of(row: Row) -> LiveReview:
    """A LiveReview from the columns of its query. Raises ValueError."""
    return LiveReview(
        id=row[0],
        status=member(BEAD_STATUSES, row[1]),
        rig_id=row[2],
        parent_id=row[3],
        metadata=object_of(row[4]),
        dispatch_attempts=row[5],
        last_dispatch_attempt_at=time_or_none(row[6]),
        created_by=row[7],
        created_at=from_text(row[8]),
        updated_at=from_text(row[9]),
        branch=row[10],
        target_branch=row[11],
        pr_url=row[12],
        parent_mode=None if row[13] is None else MergeMode(row[14] or MergeMode.REVIEW_THEN_LAND),
        labels=labels_of(row[15]),
        priority=Priority(row[16]),
    )


def convoy_of(row: Row) -> OpenConvoy:
    """An OpenConvoy from the columns of its query. Raises ValueError."""
    return OpenConvoy(
        id=row[0],
        metadata=object_of(row[1]),
        stored_total=row[2],
        stored_done=row[3],
        feature_branch=row[4],
        merge_mode=None if row[5] is None else MergeMode(row[5]),
        staged=bool(row[6]),
        total=row[7],
        done=row[8],
        failed=row[9],
        first_rig=row[10],
        updated_at=from_text(row[11]),
    )


def landing_of(row: Row) -> LandingReview:
    """A LandingReview from the columns of its query. Raises ValueError."""
    return LandingReview(
        id=row[0],
        convoy_id=row[1],
        status=member(BEAD_STATUSES, row[2]),
        awaiting_approval=ReviewNotes.awaiting_approval.of(object_of(row[3])),
        created_at=from_text(row[4]),
    )


def mail_of(row: Row) -> Mail:
    """A Mail from the columns of its query. Raises ValueError."""
    metadata = object_of(row[5])
    told, told_at = MailNotes.told.of(metadata), MailNotes.told_at.of(metadata)
    return Mail(row[0], row[1], row[2], row[3], row[4], told, told_at)


def escalation_of(row: Row) -> OpenEscalation:
    """An OpenEscalation from the columns of its query. Raises ValueError, RowUnreadable."""
    try:
        severity = Priority(row[2])
    except ValueError as error:
        raise RowUnreadable("escalation_metadata", row[0], str(error)) from error
    return OpenEscalation(bead_id=row[0], title=row[1], severity=severity, bumps=row[3], created_at=from_text(row[4]))


_ENDS_WITH_ITS_REVIEW: Final = ("feedback_cap", "conflict_cap", "merge_conflict")


def caused_of(row: Row) -> CausedEscalation | None:
    """The cause of an escalation; None if no rule raised it. Earlier releases stored no cause for those about an MR."""
    metadata = object_of(row[2])
    reason, _, subject = (EscalationNotes.cause.of(metadata) or "").partition(":")
    if not subject and row[1] in _ENDS_WITH_ITS_REVIEW:
        reason, subject = row[1], EscalationNotes.mr_bead_id.of(metadata) or ""
    return CausedEscalation(row[0], reason, subject) if subject else None
