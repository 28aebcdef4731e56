"""Why a row waits: one model, which status, explain, lists and metrics show (spec/tick.md section 13)."""

from typing import Final, Literal, get_args

from shared.domain.shapes import Time, answer

WaitingReason = Literal[
    "blocked_by",
    "failed_dependency",
    "cooldown",
    "awaiting_review",
    "awaiting_ci",
    "awaiting_approval",
    "held",
    "staged",
    "convoy_over",
    "draining",
    "settling",
    "breaker_open",
    "rate_limited",
    "budget_spent",
    "rig_full",
    "agent_working",
    "no_rig",
    "missing_blocker",
    "no_agent_program",
    "paused",
    "forge_denied",
    "forge_down",
    "forge_unreadable",
    "wrong_repository",
    "pr_mismatch",
    "untrusted_author",
    "draft",
    "changes_requested",
    "checks_unreadable",
    "in_merge_queue",
    "behind_base",
    "merge_refused",
    "merge_unproven",
    "awaiting_merge",
]
"""The closed list of reasons why no agent works on a live bead."""

REASONS: Final[tuple[WaitingReason, ...]] = get_args(WaitingReason)

BY_PEOPLE: Final[frozenset[WaitingReason]] = frozenset(
    {
        "failed_dependency",
        "awaiting_approval",
        "awaiting_merge",
        "held",
        "staged",
        "convoy_over",
        "paused",
        "budget_spent",
        "no_rig",
        "missing_blocker",
        "no_agent_program",
        "wrong_repository",
        "pr_mismatch",
        "untrusted_author",
        "draft",
        "changes_requested",
        "checks_unreadable",
        "merge_refused",
        "merge_unproven",
        "forge_denied",
        "forge_down",
        "forge_unreadable",
    }
)
"""The reasons that only a person can end, in the town or at its forge."""


@answer
class Guard:
    """Something that holds a row back. `guard` is its stable name; `says` explains it; `actor` can change it.

    `until` is null if time alone does not end it.
    """

    guard: str
    says: str
    since: Time | None = None
    until: Time | None = None
    actor: str | None = None


@answer
class Need:
    """An event that would change what holds a row back, the bead that it is about, and who may send it.

    `bead_id` is null for an event about the whole town. `senders` is empty for an event that only the town itself makes.
    `setting` is the setting that a town_configured event must change; null for other events.
    """

    event_type: str
    bead_id: str | None
    senders: tuple[str, ...]
    setting: str | None = None


@answer
class WaitRoot:
    """The bead at the end of a chain of beads that wait for each other, and why that bead waits.

    `steps` is the length of the chain, `roots` the number of such beads; this is the first of them. The reason is null for a
    failed bead: only the event bead_reopened changes it.
    """

    bead_id: str
    status: str
    reason: WaitingReason | None
    since: Time
    due_at: Time | None
    actor: str | None
    steps: int
    roots: int


@answer
class AtWork:
    """A bead that holds a place for which others wait, the agent that works on it, and since when."""

    bead_id: str
    agent_id: str | None
    since: Time


@answer
class QueuePlace:
    """The position of a row, from 1, among the rows that wait for the same place, and the beads that hold such a place now."""

    position: int
    length: int
    now: tuple[AtWork, ...]


@answer
class Waiting:
    """Why a row waits. `rule` acts next: at `due_at` or, if that is null, once events have ended what holds the row back.

    `reason` is null only for an agent and for a bead that an agent works on. `guards` lists everything that holds the row back,
    the guard of the reason first. `needs` are the events that would end a wait that time does not end.
    """

    bead_id: str
    reason: WaitingReason | None
    since: Time
    due_at: Time | None
    actor: str | None
    rule: str | None
    guards: tuple[Guard, ...]
    needs: tuple[Need, ...]
    root: WaitRoot | None
    queue: QueuePlace | None
