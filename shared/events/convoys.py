"""Events about convoys: created with their tasks, started, closed by force (spec/events.md 4.4)."""

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from shared.actions import StopAgent
from shared.domain import ids, limits
from shared.domain.branches import digest_of
from shared.domain.notes import BeadNotes, ConvoyNotes, known
from shared.domain.outcomes import EXISTS, MISSING, TAKEN, TERMINAL, Applied, Rejected, Skipped
from shared.domain.states import BeadStatus, BeadType, MergeMode
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.cancelling import release
from shared.events.fields import BodyText, FreeText, IdText, Integer, NonEmptyText, Part, PriorityName, Texts
from shared.town import lookup, new_ids
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import beads, convoys, membership, rigs
from shared.town.writing.beads import Failure

TASKS_AT_MOST: Final = 100
SLUG_AT_MOST: Final = 40


class Task(Part):
    """One issue of a convoy. `depends_on` holds positions of other tasks, counted from 0."""

    title: FreeText
    body: BodyText | None = None
    priority: PriorityName | None = None
    labels: Texts = ()
    depends_on: Annotated[tuple[Integer, ...], Field(strict=False)] = ()


class ConvoyCreated(Event):
    """Somebody asked for a group of issues that are done and landed together."""

    event_type = "convoy_created"
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    convoy_id: IdText
    title: FreeText
    rig_id: IdText
    merge_mode: Literal["review-then-land", "review-and-merge"] | None = None
    staged: bool | None = None
    feature_branch: NonEmptyText | None = None
    by: FreeText | None = None
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=TASKS_AT_MOST, strict=False)]

    @property
    def creates(self) -> int:
        """The convoy and its tasks."""
        return 1 + len(self.tasks)

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Create the convoy and its tasks with their edges; or skip or reject all of it."""
        if (there := lookup.creator_of(town, self.convoy_id)) is not None:
            return EventResult(EXISTS if there.by == speakers.named(fact, self.by) else TAKEN)
        if not rigs.exists(town, self.rig_id):
            return EventResult(Rejected("unknown rig"))
        needed = [sorted(set(task.depends_on)) for task in self.tasks]
        if any(not 0 <= other < len(needed) for others in needed for other in others):
            return EventResult(Rejected("a task depends on a task that does not exist"))
        if _has_cycle(needed):
            return EventResult(Rejected("cycle"))
        if self.feature_branch is not None and convoys.is_feature_branch(town, self.feature_branch, self.rig_id):
            return EventResult(Rejected("another convoy has this feature branch"))
        self._create_convoy(fact, town)
        self._create_tasks(fact, town, needed)
        convoys.record_progress(town, self.convoy_id)
        return EventResult(Applied())

    def _create_convoy(self, fact: Fact, town: Town) -> None:
        mode = MergeMode(self.merge_mode or town.settings(self.rig_id).convoy_merge_mode)
        staged = town.tick.config.staged_convoys_default if self.staged is None else self.staged
        branch = None
        if mode is MergeMode.REVIEW_THEN_LAND:
            branch = self.feature_branch or new_feature_branch(town, self.convoy_id, self.title, self.rig_id)
        beads.create(
            town,
            beads.NewBead(
                id=self.convoy_id,
                type=BeadType.CONVOY,
                title=self.title,
                metadata=known(
                    (
                        ConvoyNotes.feature_branch.to(branch),
                        BeadNotes.chosen_id.to(True) if ids.looks_derived(self.convoy_id) else BeadNotes.chosen_id.gone,
                    )
                ),
                created_by=speakers.named(fact, self.by),
            ),
        )
        convoys.create_metadata(town, self.convoy_id, merge_mode=mode, staged=staged, feature_branch=branch)

    def _create_tasks(self, fact: Fact, town: Town, needed: Sequence[Sequence[int]]) -> None:
        task_ids = new_ids.derived(town, [_task(self.convoy_id, index) for index in range(len(self.tasks))])
        for bead_id, task in zip(task_ids, self.tasks, strict=True):
            beads.create(
                town,
                beads.NewBead(
                    id=bead_id,
                    type=BeadType.ISSUE,
                    title=task.title,
                    body=task.body,
                    rig_id=self.rig_id,
                    priority=task.priority or "medium",
                    labels=task.labels,
                    created_by=speakers.named(fact, self.by),
                ),
            )
            beads.add_edge(town, bead_id, self.convoy_id, "tracks")
        for bead_id, others in zip(task_ids, needed, strict=True):
            for other in others:
                beads.add_edge(town, bead_id, task_ids[other], "blocks")


def task_id(town_id: str, convoy_id: str, index: int) -> str:
    """The bead id of a convoy's task, which its producer can compute in advance. It is another one if a bead had this id before."""
    return ids.derived_from(town_id, _task(convoy_id, index))


def _task(convoy_id: str, index: int) -> str:
    return f"convoy:{convoy_id}:{index}"


def new_feature_branch(town: Town, convoy_id: str, title: str, rig_id: str) -> str:
    """The branch on which the work of a convoy is gathered, unless its producer names one."""
    usual = f"convoy/{slug_of(title)}/{_eight_hex_digits(town.tick.town_id, convoy_id)}/head"
    if not convoys.is_feature_branch(town, usual, rig_id):
        return usual
    return f"convoy/{slug_of(title)}/{digest_of(convoy_id)}/head"


def slug_of(title: str) -> str:
    """A title as part of a branch name: `Add User Auth!!` becomes `add-user-auth`."""
    hyphenated = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return hyphenated[:SLUG_AT_MOST].rstrip("-") or "convoy"


def _eight_hex_digits(town_id: str, convoy_id: str) -> str:
    """The first 8 hex digits of the convoy's id, or of an id derived from it if it is not a UUID."""
    start = convoy_id[:8].lower()
    return start if re.fullmatch(r"[0-9a-f]{8}", start) else ids.derived_from(town_id, f"convoy:{convoy_id}")[:8]


def _has_cycle(needed: Sequence[Sequence[int]]) -> bool:
    """Whether tasks are left after repeatedly taking every task whose dependencies were already taken."""
    taken: set[int] = set()
    while len(taken) < len(needed):
        ready = [index for index, others in enumerate(needed) if index not in taken and taken.issuperset(others)]
        if not ready:
            return True
        taken.update(ready)
    return False


class ConvoyStarted(Event):
    """Somebody started a staged convoy."""

    event_type = "convoy_started"
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    convoy_id: IdText
    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the convoy's id is enough
        """Let its tasks be dispatched; let a convoy that is held be landed again."""
        convoy = lookup.bead(town, self.convoy_id)
        if convoy is not None and not convoy.live:
            return EventResult(TERMINAL if convoy.type is BeadType.CONVOY else MISSING)
        started = convoys.start(town, self.convoy_id)
        freed = started != "missing" and beads.note(town, self.convoy_id, ConvoyNotes.held.gone)
        if freed:
            # The landing that ended may have waited for an approval, or used up the attempts: it no longer counts. A rule of
            # this tick may create the next one.
            membership.land_anew(town, self.convoy_id, after=town.tick.now - limits.MILLISECOND)
        return EventResult(Applied() if started == "started" or freed else Skipped(started))


class ConvoyClosed(Event):
    """Somebody closed a convoy, whatever the state of its tasks."""

    event_type = "convoy_closed"
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    convoy_id: IdText
    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Close its live tasks, fail the live reviews of its tasks and of itself, unhook their agents, and close it."""
        convoy = lookup.bead(town, self.convoy_id)
        if convoy is None or convoy.type is not BeadType.CONVOY:
            return EventResult(MISSING)
        if not convoy.live:
            return EventResult(TERMINAL)
        actor = speakers.by(fact, self.by)
        tasks = lookup.tracked_issues(town, convoy.id)
        sources = [*tasks, convoy.id]
        review_ids = sorted({review for source in sources for review in lookup.live_reviews_of(town, source)})
        stops = [*self._close(town, tasks, actor), *self._fail(town, review_ids, actor)]
        if beads.move(town, convoy.id, BeadStatus.CLOSED, actor=actor, reason="convoy closed") == "moved":
            convoys.set_landed(town, convoy.id)
        return EventResult(Applied(), tuple(stops))

    def _close(self, town: Town, tasks: Sequence[str], actor: str) -> list[StopAgent]:
        stops: list[StopAgent] = []
        for bead_id in tasks:
            if beads.move(town, bead_id, BeadStatus.CLOSED, actor=actor, reason="convoy closed") == "moved":
                stops += release(town, bead_id, reason="convoy closed")
        return stops

    def _fail(self, town: Town, review_ids: Sequence[str], actor: str) -> list[StopAgent]:
        failure = Failure("convoy_closed", "the convoy was closed", "user")
        stops: list[StopAgent] = []
        for bead_id in review_ids:
            beads.move(town, bead_id, BeadStatus.FAILED, actor=actor, reason="convoy closed", failure=failure)
            stops += release(town, bead_id, reason="convoy closed")
        return stops
