"""Notes: the metadata keys of beads that the town itself reads and writes (spec/data-model.md section 2), each defined once.

    ReviewNotes.last_poll_at.of(bead.metadata)                    the value, typed
    beads.note(town, bead_id, ReviewNotes.last_poll_at.to(now))   stored; `None` removes the key

Producers write metadata too, so a value may have any form. A value of another form counts as absent: `of` never raises.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, Generic, TypeVar

from shared.domain.obstacles import Obstacle, obstacle_or_none
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


def _objects(value: object) -> tuple[Metadata, ...]:
    return tuple(each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else ()


def _object() -> Note[Metadata | None]:
    return Note(
        lambda value: value if isinstance(value, dict) else None, lambda value: None if value is None else dict(value)
    )


class BeadNotes:
    """Of any bead: why it failed, what its next agent must know, and the beads that it will depend on once they exist."""

    failure_reason = _text("failureReason")
    failure_kind = _text("failureKind")
    failure_message = _text("failureMessage")
    failed_blocker_notified = _flag()
    note_for_next = _object()
    """`{text, at, by}`: what the next agent must know. It outlives agents and is removed when the bead closes."""
    last_words = _object()
    """`{text, at, by, generation?}`: why the last agent's process ended, in its own words. Removed when work is reported done."""
    awaits = _list()
    """The ids in `depends_on` of beads that do not exist yet."""
    chosen_id = _flag()
    """A producer chose its id, which has the form of the town's own ids: it stays in the image, so that no tick makes it again."""
    no_program_since = _time()
    no_program_tries = _count()
    """Since when, and how often, its agent was not started because no agent program is configured."""
    fault = _text()
    fault_since = _time()
    fault_tries = _count()
    """Which fault of their surroundings kept its agents from working, since when, and how often in a row."""
    voiced = _text()
    """`<reason>@<since>` of the wait about which a person was told."""


class MailNotes:
    """Of a message: how often and when its delivery was last requested, and the message that it answers."""

    told = _count()
    told_at = _time()
    in_reply_to = _text()


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
    head_seen_at = _time()
    """When the town first saw `head_sha`."""
    changed_at = _time()
    """When a poll last brought something new: it decides how often the pull request is polled."""
    pinned = _object()
    """The identity of a babysat pull request at its first poll: repositories and branches of head and base."""
    obstacle: Note[Obstacle | None] = Note(obstacle_or_none)
    """Why the pull request cannot go on, as a waiting reason; absent if only checks, review or time are missing."""
    obstacle_since = _time()
    obstacle_detail = _text()
    """The same for people, in one clause: which field differs, which check is missing, what the forge answered."""
    passes_first_head = _flag()
    """A refinery has opened the pull request without naming its head: it has passed the first one that the forge shows."""
    review_passed_head = _text()
    """The head that a refinery has passed. Only this head, or one that the town itself updated from it, may be merged."""
    own_update_of = _text()
    """The head from which the town asked the forge to update the branch; the head that follows it is the town's own."""
    own_updated_from = _text()
    """The head before the town's last update of the branch: a poll that still shows it has read an old state."""
    own_updates = _count()
    """How often the town has updated the branch since the last head that was not its own."""
    pr_closed = _flag()
    """The forge has said that the pull request is closed, so another one may replace it."""
    submitted_head = _text()
    submitted_base = _text()
    """The head of the branch and its merge base with the target, as the worker reported them when it submitted the work."""
    own_updated_at = _time()
    """When the town last asked for an update of the branch."""
    merge_claim = _object()
    """`{commit, head, at}`: an unproven report that the branch was merged."""
    merge_looked_at = _time()
    merge_look_not_before = _time()
    merge_looks_failed = _count()
    """Looks in a row that brought no answer: they back off."""
    merge_looks = _count()
    """Negative answers to the question whether the target contains the claimed merge, in a row."""
    merge_first_look_at = _time()
    unproven = _flag()
    """The MR was closed as merged although nothing could check it."""
    refused_head = _text()
    refused_as = _text()
    """The class of the forge's last refusal to merge, at `refused_head`."""
    refusals = _object()
    """How often the forge has refused to merge `refused_head`, by class."""
    refused_at = _time()
    queued_at = _time()
    """When the pull request entered a merge queue."""
    queue_misses = _count()
    """Polls in a row that found it neither in the queue nor merged."""
    change_requests = _list()
    """The ids of the reviews that request changes and have had their feedback bead."""
    reviewers_asked = _object()
    """By the id of each review that requests changes: the last head at which its author was asked, or need not be asked."""
    reviewers_to_ask = _list()
    """The people whom the next tick asks to review again."""
    polls_failed = _count()
    """Polls in a row that could not look: they back off."""
    polls_failed_since = _time()
    """When the first of them failed."""
    episode = _text()
    """The key of the forge episode that the MR belongs to (town key `forge_episodes`)."""
    checks_episode = _text()
    """The same for an episode in which only the checks cannot be read."""
    retarget_asked = _flag()
    """An agent was asked once to change the base of the pull request."""
    abandoned = _flag()
    """The MR ended while its pull request was open."""
    adopted = _flag()
    """An operator vouched for the pull request although its author is not trusted."""


class ConvoyNotes:
    """Of convoys."""

    feature_branch = _text()
    ready_to_land = _flag()
    landing_mr_attempts: Note[int] = Note(_whole)
    last_landing_mr_attempt_at = _time()
    lands_after = _time()
    """Only landing MRs created later count: a task joined or was reopened at this time."""
    held = _flag()
    """It does not land until convoy_started: nothing happens between C6 and C7."""
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
    retarget_to = _text()
    """The base that the pull request must get: nothing else is asked for."""
    comments: Note[tuple[Metadata, ...]] = Note(_objects, list, producers_write=True)
    """`{author, file, line, text, thread}`: what reviewers say at the forge, where known."""


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
    cause = _text()
    """`<reason>:<subject>` of an escalation that a rule raised: the rule closes it when the cause ends."""
    kind: Note[str | None] = Note(_text_or_none, producers_write=True)
    triage_request_id: Note[str | None] = Note(_text_or_none, producers_write=True)


NOTES: Final = tuple(
    note
    for bead_type in (BeadNotes, MailNotes, ReviewNotes, ConvoyNotes, BranchNotes, TriageNotes, EscalationNotes)
    for note in vars(bead_type).values()
    if isinstance(note, Note)
)
RESERVED: Final = frozenset(note.name for note in NOTES if note.reserved)
"""The keys that belong to the town, so bead_updated cannot write them."""
