"""Notes: the metadata keys of beads that the town itself reads and writes (spec/data-model.md section 2), each defined once.

    ReviewNotes.last_poll_at.of(bead.metadata)                    the value, typed
    beads.note(town, bead_id, ReviewNotes.last_poll_at.to(now))   stored; `None` removes the key

Producers write metadata too, so a value may have any form. A value of another form counts as absent: `of` never raises.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, Generic, TypeVar

from shared.domain.times import readable_time, text_or_none

T = TypeVar("T")
Metadata = Mapping[str, object]
Change = tuple[str, object]
"""The name of a note and the JSON to store; None removes it."""


class Note(Generic[T]):
    """One metadata key. `producers_write` it if `bead_updated` may set it; all others are reserved for the town."""

    def __init__(
        self,
        read: Callable[[object], T],
        write: Callable[[T], object] = lambda value: value,
        *,
        name: str = "",
        producers_write: bool = False,
    ) -> None:
        self.name = name
        self.reserved: Final = not producers_write
        self._read = read
        self._write = write

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.name = self.name or attribute

    def of(self, metadata: Metadata) -> T:
        """The value in the metadata of a bead."""
        return self._read(metadata.get(self.name))

    def is_in(self, metadata: Metadata) -> bool:
        """Whether the key is stored, with whatever value."""
        return self.name in metadata

    def to(self, value: T) -> Change:
        """The change that stores a value."""
        return self.name, self._write(value)

    @property
    def gone(self) -> Change:
        """The change that removes the key."""
        return self.name, None


def known(changes: Iterable[Change]) -> dict[str, object]:
    """The metadata of a new bead with these notes, without those that have no value."""
    return {name: value for name, value in changes if value is not None}


def is_set(value: object) -> bool:
    """Whether a flag is set: true or a number other than 0. Missing, null, false, 0 and texts are not set."""
    return isinstance(value, bool | int | float) and value != 0


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _positive(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _as_is(value: object) -> object:
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _flag() -> Note[bool]:
    return Note(is_set, int)


def _time() -> Note[datetime | None]:
    return Note(readable_time, text_or_none)


def _text(name: str = "") -> Note[str | None]:
    return Note(_text_or_none, name=name)


def _count() -> Note[int]:
    return Note(_positive)


def _list() -> Note[tuple[str, ...]]:
    return Note(_texts, list)


class BeadNotes:
    """Of any bead: why it failed, and that the mayor knows that it blocks others."""

    failure_reason = _text("failureReason")
    failure_kind = _text("failureKind")
    failure_message = _text("failureMessage")
    failed_blocker_notified = _flag()


class ReviewNotes:
    """Of merge requests."""

    source_bead_id = _text()
    source_agent_id = _text()
    pr_url = _text()
    convoy_id = _text()
    convoy_feature_branch = _text()
    last_poll_at = _time()
    poll_not_before = _time()
    poll_transient_count = _count()
    poll_non_transient_count = _count()
    poll_error_kind = _text()
    has_conflicts = _flag()
    conflicts_detected_at = _time()
    awaiting_approval = _flag()
    review_decision = _text()
    merge_state_status = _text()
    awaiting_approval_observed_at = _time()
    auto_merge_pending = _flag()
    head_sha: Note[object] = Note(_as_is)
    """It is only compared with the head of the pull request, so a value that is not a text equals no head."""
    feedback_cap_escalated = _flag()
    conflict_cap_escalated = _flag()
    babysit = _flag()
    force_push_allowed = _flag()


class ConvoyNotes:
    """Of convoys."""

    feature_branch = _text()
    ready_to_land = _flag()
    landing_mr_attempts: Note[int] = Note(_whole)
    last_landing_mr_attempt_at = _time()
    respawn_suppressed_attempt: Note[object] = Note(_as_is)


class BranchNotes:
    """Of issues on the branch of a merge request: feedback, conflicts, rework, fix-ups."""

    mr_bead_id = _text()
    pr_url = _text()
    branch = _text()
    target_branch = _text()
    has_feedback = _flag()
    has_conflicts = _flag()
    conflict_target_branch = _text()
    rework_for = _text()
    files = _list()


class TriageNotes:
    """Of triage requests, and of the batches that answer them."""

    triage_type = _text()
    agent_bead_id = _text()
    hooked_bead_id = _text()
    context = _text()
    options = _list()
    escalation_bead_id = _text()
    resolution_action = _text()
    resolution_notes = _text()
    resolved_by = _text()
    request_ids = _list()


class EscalationNotes:
    """Of escalations: what they are about."""

    mr_bead_id = _text()
    pr_url = _text()
    agent_bead_id = _text()
    kind: Note[str | None] = Note(_text_or_none, producers_write=True)
    triage_request_id: Note[str | None] = Note(_text_or_none, producers_write=True)


NOTES: Final = tuple(
    note
    for bead_type in (BeadNotes, ReviewNotes, ConvoyNotes, BranchNotes, TriageNotes, EscalationNotes)
    for note in vars(bead_type).values()
    if isinstance(note, Note)
)
RESERVED: Final = frozenset(note.name for note in NOTES if note.reserved)
"""The keys that belong to the town, so bead_updated cannot write them."""
