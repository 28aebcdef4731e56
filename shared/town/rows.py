"""Rows as values. Reading a row checks its statuses and other closed vocabularies, its times and its JSON.

A row that fails a check raises RowUnreadable. The reader notes it for invariant 1 and continues with the other rows, so that
one bad row never stops a rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from shared.domain import strict_json
from shared.domain.config import RigConfig
from shared.domain.errors import RowUnreadable
from shared.domain.notes import Metadata
from shared.domain.states import AgentStatus, BeadStatus, BeadType, DispatchOutcome, Role
from shared.domain.times import from_text, time_or_none

E = TypeVar("E")
Row = tuple[Any, ...]
"""A row of SQLite: the statement decides the types of its columns, and the tables are STRICT."""


@dataclass(frozen=True, slots=True)
class Rig:
    """A registered repository with its overrides. `forge_repository_id` is its id at the forge, known from the first poll on."""

    id: str
    name: str
    git_url: str
    default_branch: str
    config: RigConfig
    created_at: datetime
    forge_repository_id: str | None = None


@dataclass(frozen=True, slots=True)
class Bead:
    """One bead, with every column except `closed_at`."""

    id: str
    type: BeadType
    status: BeadStatus
    title: str
    body: str | None
    rig_id: str | None
    parent_id: str | None
    assignee: str | None
    priority: str
    labels: tuple[str, ...]
    metadata: Metadata
    dispatch_attempts: int
    last_dispatch_attempt_at: datetime | None
    last_dispatch_failed_at: datetime | None
    created_by: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def live(self) -> bool:
        """Whether it is neither closed nor failed."""
        return not self.status.terminal


@dataclass(frozen=True, slots=True)
class Review:
    """The review metadata of a merge request bead."""

    bead_id: str
    branch: str
    target_branch: str
    merge_commit: str | None
    pr_url: str | None
    retry_count: int
    auto_merge_ready_since: datetime | None
    last_feedback_check_at: datetime | None


class Hooked(NamedTuple):
    """The bead that an agent is hooked to, with the columns that rules need."""

    id: str
    type: BeadType
    status: BeadStatus
    rig_id: str | None
    dispatch_attempts: int
    last_dispatch_attempt_at: datetime | None
    pr_url: str | None


class Agent(NamedTuple):
    """An agent with its hook. `hook` is the bead's id; `hooked` is None without a hook or if that bead does not exist.

    `last_event_at` and `active_tools` stay text: only the GUPP rules interpret them, and define what unreadable values mean.
    """

    id: str
    role: Role
    identity: str
    status: AgentStatus
    rig_id: str | None
    created_at: datetime
    hook: str | None
    hooked: Hooked | None
    dispatch_attempts: int
    generation: int
    last_dispatch_bead_id: str | None
    last_dispatch_outcome: DispatchOutcome | None
    observed_status: str | None
    checkpoint: str | None
    last_activity_at: datetime | None
    last_event_at: str | None
    active_tools: str
    stalled_at: datetime | None
    hooked_at: datetime | None
    dispatched_at: datetime | None
    hook_ended_at: datetime | None


def member(vocabulary: Mapping[str, E], word: str) -> E:
    """The member of a vocabulary that a wire word stands for. Raises ValueError for an unknown word."""
    found = vocabulary.get(word)
    if found is None:
        raise ValueError(f"{str(word)[:40]!r} is not one of {', '.join(sorted(vocabulary))}")
    return found


BEAD_TYPES = {each.value: each for each in BeadType}
BEAD_STATUSES = {each.value: each for each in BeadStatus}
ROLES = {each.value: each for each in Role}
AGENT_STATUSES = {each.value: each for each in AgentStatus}
OUTCOMES = {each.value: each for each in DispatchOutcome}


def object_of(text: str) -> dict[str, object]:
    """A JSON object. Raises ValueError for anything else."""
    if text == "{}":
        return {}
    value = strict_json.stored(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one kind of error
    return value


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in a JSON list of texts. Raises ValueError for anything else."""
    if text == "[]":
        return ()
    value = strict_json.stored(text)
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise ValueError("labels are not a JSON list of text")
    return tuple(value)


BEAD_COLUMNS = (
    "b.bead_id, b.type, b.status, b.title, b.body, b.rig_id, b.parent_bead_id, b.assignee_agent_bead_id, b.priority, "
    "b.labels, b.metadata, b.dispatch_attempts, b.last_dispatch_attempt_at, b.last_dispatch_failed_at, b.created_by, "
    "b.created_at, b.updated_at"
)


def bead_of(row: Row) -> Bead:
    """A Bead from BEAD_COLUMNS. Raises RowUnreadable."""
    try:
        return Bead(
            id=row[0],
            type=member(BEAD_TYPES, row[1]),
            status=member(BEAD_STATUSES, row[2]),
            title=row[3],
            body=row[4],
            rig_id=row[5],
            parent_id=row[6],
            assignee=row[7],
            priority=row[8],
            labels=labels_of(row[9]),
            metadata=object_of(row[10]),
            dispatch_attempts=row[11],
            last_dispatch_attempt_at=time_or_none(row[12]),
            last_dispatch_failed_at=time_or_none(row[13]),
            created_by=row[14],
            created_at=from_text(row[15]),
            updated_at=from_text(row[16]),
        )
    except ValueError as error:
        raise RowUnreadable("beads", row[0], str(error)) from error


REVIEW_COLUMNS = (
    "r.bead_id, r.branch, r.target_branch, r.merge_commit, r.pr_url, r.retry_count, r.auto_merge_ready_since, "
    "r.last_feedback_check_at"
)


def review_of(row: Row) -> Review:
    """A Review from REVIEW_COLUMNS. Raises RowUnreadable."""
    try:
        return Review(
            bead_id=row[0],
            branch=row[1],
            target_branch=row[2],
            merge_commit=row[3],
            pr_url=row[4],
            retry_count=row[5],
            auto_merge_ready_since=time_or_none(row[6]),
            last_feedback_check_at=time_or_none(row[7]),
        )
    except ValueError as error:
        raise RowUnreadable("review_metadata", row[0], str(error)) from error


AGENT_COLUMNS = (
    "a.bead_id, a.role, a.identity, a.status, b.rig_id, b.created_at, a.current_hook_bead_id, h.type, h.status, "
    "h.rig_id, h.dispatch_attempts, h.last_dispatch_attempt_at, hr.pr_url, a.dispatch_attempts, a.generation, "
    "a.last_dispatch_bead_id, a.last_dispatch_outcome, a.observed_status, a.checkpoint, a.last_activity_at, "
    "a.last_event_at, a.active_tools, a.stalled_at, a.hooked_at, a.dispatched_at, a.hook_ended_at"
)
AGENT_TABLES = (
    "agent_metadata a JOIN beads b ON b.bead_id = a.bead_id "
    "LEFT JOIN beads h ON h.bead_id = a.current_hook_bead_id "
    "LEFT JOIN review_metadata hr ON hr.bead_id = a.current_hook_bead_id"
)


def agent_of(row: Row) -> Agent:
    """An Agent from AGENT_COLUMNS. Raises RowUnreadable."""
    try:
        return Agent(
            row[0],
            member(ROLES, row[1]),
            row[2],
            member(AGENT_STATUSES, row[3]),
            row[4],
            from_text(row[5]),
            row[6],
            None if row[7] is None else _hooked_of(row),
            row[13],
            row[14],
            row[15],
            None if row[16] is None else member(OUTCOMES, row[16]),
            row[17],
            row[18],
            time_or_none(row[19]),
            row[20],
            row[21],
            time_or_none(row[22]),
            time_or_none(row[23]),
            time_or_none(row[24]),
            time_or_none(row[25]),
        )
    except ValueError as error:
        raise RowUnreadable("agent_metadata", row[0], str(error)) from error


def _hooked_of(row: Row) -> Hooked:
    try:
        return Hooked(
            row[6],
            member(BEAD_TYPES, row[7]),
            member(BEAD_STATUSES, row[8]),
            row[9],
            row[10],
            time_or_none(row[11]),
            row[12],
        )
    except ValueError as error:
        raise RowUnreadable("beads", row[6], str(error)) from error


RIG_COLUMNS = "g.id, g.name, g.git_url, g.default_branch, g.config, g.created_at, g.forge_repository_id"


def rig_of(row: Row) -> Rig:
    """A Rig from RIG_COLUMNS. Raises RowUnreadable."""
    try:
        return Rig(
            id=row[0],
            name=row[1],
            git_url=row[2],
            default_branch=row[3],
            config=_NO_OVERRIDES if row[4] == "{}" else RigConfig.model_validate_json(row[4]),
            created_at=from_text(row[5]),
            forge_repository_id=row[6],
        )
    except ValidationError as error:
        raise RowUnreadable("rigs", row[0], "config is not valid") from error
    except ValueError as error:
        raise RowUnreadable("rigs", row[0], str(error)) from error


_NO_OVERRIDES = RigConfig()
