"""The state that rules may read: one query for each concept, whose result all rules of a pass share.

All rules see the same state, because they run before any action of their pass. Every query has a total order. No query scans
closed or failed beads: it reaches them only through an index, from a live bead, by their id, or as recent failed starts.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from shared.domain.config import EffectiveSettings, TownConfig, effective
from shared.domain.errors import RowUnreadable
from shared.domain.notes import BeadNotes, ConvoyNotes, TriageNotes
from shared.domain.spending import Limit
from shared.domain.states import PATROL, BeadStatus, BeadType, Label, Role
from shared.domain.times import from_text, time_or_none, to_text
from shared.town import database, live
from shared.town.queries import QUERIES
from shared.town.rows import Agent, Rig, Row, agent_of, labels_of, object_of, rig_of
from shared.town.town_keys import TownKeys, TriageState

T = TypeVar("T")


class TownReader:
    """The state as rules see it. `unreadable` collects the rows that could not be read, by (table, key)."""

    def __init__(self, sql: sqlite3.Connection, config: TownConfig, unreadable: dict[tuple[str, str], str]) -> None:
        """Read through `sql` with the configuration of this tick."""
        self._sql = sql
        self._config = config
        self.unreadable = unreadable
        self._settings: dict[str | None, EffectiveSettings] = {}
        self._shared: dict[str, Any] = {}
        self._recent_nudges: dict[datetime, Mapping[tuple[str, str], datetime]] = {}

    def sandbox(self) -> AbstractContextManager[Callable[[], bool]]:
        """The sandbox in which rules run: see `database.rules_sandbox`."""
        return database.rules_sandbox(self._sql)

    @cached_property
    def keys(self) -> TownKeys:
        """The town keys."""
        return TownKeys(self._sql)

    @cached_property
    def triage(self) -> TriageState:
        """What triage has come to."""
        return self.keys.triage

    @cached_property
    def rigs(self) -> Mapping[str, Rig]:
        """All rigs by id."""
        return {rig.id: rig for rig in self._readable("rigs", rig_of)}

    def once(self, name: str, answer: Callable[[], T]) -> T:
        """A value that several rules of this pass share; it is computed when first requested."""
        if name not in self._shared:
            self._shared[name] = answer()
        found: T = self._shared[name]
        return found

    def settings(self, rig_id: str | None) -> EffectiveSettings:
        """The settings that apply to a rig, or to the town if there is no such rig."""
        found = self._settings.get(rig_id)
        if found is None:
            rig = None if rig_id is None else self.rigs.get(rig_id)
            found = self._settings[rig_id] = effective(self._config, None if rig is None else rig.config)
        return found

    @cached_property
    def agents(self) -> tuple[Agent, ...]:
        """All agents in order of id, with their hooks."""
        return tuple(self._readable("agents", agent_of))

    @cached_property
    def agents_by_id(self) -> Mapping[str, Agent]:
        """All agents by id."""
        return {agent.id: agent for agent in self.agents}

    @cached_property
    def hooks(self) -> Mapping[str, Agent]:
        """The agent that is hooked to a bead, by bead id."""
        return {agent.hook: agent for agent in self.agents if agent.hook is not None}

    @cached_property
    def mayor(self) -> Agent | None:
        """The first mayor by creation."""
        mayors = [agent for agent in self.agents if agent.role is Role.MAYOR]
        return min(mayors, key=lambda agent: (agent.created_at, agent.id), default=None)

    @cached_property
    def issues(self) -> tuple[live.Issue, ...]:
        """Live issues by creation."""
        return tuple(self._readable("issues", live.issue_of, table="beads"))

    @cached_property
    def reviews(self) -> tuple[live.LiveReview, ...]:
        """Live merge requests by creation."""
        return tuple(self._readable("reviews", live.review_of, table="beads"))

    @cached_property
    def reviews_by_id(self) -> Mapping[str, live.LiveReview]:
        """Live merge requests by id."""
        return {review.id: review for review in self.reviews}

    @cached_property
    def has_unreadable_reviews(self) -> bool:
        """Whether a live merge request is missing in `reviews` because it cannot be read."""
        return len(self._rows("reviews")) > len(self.reviews)

    def is_unreadable(self, bead_id: str) -> bool:
        """Whether a row of this bead could not be read so far: then it is in none of the lists, live as it may be."""
        return any(key == bead_id for _, key in self.unreadable)

    @cached_property
    def rigs_in_review(self) -> frozenset[str | None]:
        """The rigs with a live merge request."""
        return frozenset(review.rig_id for review in self.reviews)

    @cached_property
    def blockers(self) -> Mapping[str, tuple[live.Blocker, ...]]:
        """Unresolved blockers (spec/data-model.md 3.10), also missing ones, by the id of the live bead that they block."""
        found: dict[str, list[live.Blocker]] = {}
        for row in self._rows("blockers"):
            blocker = self._blocker(row)
            if blocker is not None:
                found.setdefault(blocker.dependent_id, []).append(blocker)
        waiting = [(issue.id, issue.metadata) for issue in self.issues]
        waiting += [(review.id, review.metadata) for review in self.reviews]
        for bead_id, metadata in waiting:
            for other in BeadNotes.awaits.of(metadata):
                blocker = live.Blocker(other, bead_id, "missing", (), notified=True, exists=False)
                found.setdefault(bead_id, []).append(blocker)
        return {dependent: tuple(blockers) for dependent, blockers in found.items()}

    @cached_property
    def _held_by_convoys(self) -> tuple[tuple[str, str, bool, str | None], ...]:
        """(issue, convoy, staged, ended at) for each live issue whose convoy holds it back."""
        rows = self._rows("held_by_convoys")
        return tuple((row[0], row[1], bool(row[2]), row[4] if row[3] else None) for row in rows)

    @cached_property
    def staged_beads(self) -> frozenset[str]:
        """The live issues in a convoy that is staged, whatever the convoy's status."""
        return frozenset(issue for issue, _, staged, _ in self._held_by_convoys if staged)

    @cached_property
    def beads_of_ended_convoys(self) -> Mapping[str, str]:
        """The closed or failed convoy of each live issue that is in one, by issue."""
        return {issue: convoy for issue, convoy, _, ended_at in self._held_by_convoys if ended_at is not None}

    @cached_property
    def convoys_ended_at(self) -> Mapping[str, datetime]:
        """When the convoys of `beads_of_ended_convoys` ended, by convoy."""
        return {convoy: from_text(ended_at) for _, convoy, _, ended_at in self._held_by_convoys if ended_at is not None}

    @cached_property
    def in_review(self) -> Mapping[str, live.ReviewCounts]:
        """Issues in review with the counts of their MRs, by id."""
        return {row[0]: live.ReviewCounts(*row) for row in self._rows("in_review")}

    @cached_property
    def review_sources(self) -> Mapping[str, tuple[str, BeadType, BeadStatus]]:
        """Id, type and status of the first bead that a live MR tracks, by MR id."""
        found: dict[str, tuple[str, BeadType, BeadStatus]] = {}
        for review_id, source_id, source_type, source_status in self._rows("review_sources"):
            found.setdefault(review_id, (source_id, BeadType(source_type), BeadStatus(source_status)))
        return found

    @cached_property
    def convoys(self) -> tuple[live.OpenConvoy, ...]:
        """Open convoys by id."""
        return tuple(self._readable("convoys", live.convoy_of, table="beads"))

    @cached_property
    def convoys_in_review(self) -> frozenset[str]:
        """Convoys with at least one tracked bead that has a live MR."""
        return frozenset(row[0] for row in self._rows("convoys_in_review"))

    @cached_property
    def landings(self) -> Mapping[str, tuple[live.LandingReview, ...]]:
        """Landing MRs of any status, by the id of their open convoy: only those with all of its work, created after it joined."""
        found: dict[str, list[live.LandingReview]] = {}
        since = {convoy.id: ConvoyNotes.lands_after.of(convoy.metadata) for convoy in self.convoys}
        for landing in self._readable("landings", live.landing_of, table="beads"):
            after = since.get(landing.convoy_id)
            if after is None or landing.created_at > after:
                found.setdefault(landing.convoy_id, []).append(landing)
        return {convoy: tuple(landings) for convoy, landings in found.items()}

    def recent_nudges(self, since: datetime) -> Mapping[tuple[str, str], datetime]:
        """The last nudge since `since` of each working or stalled agent by each tier: its time by (agent, source)."""
        found = self._recent_nudges.get(since)
        if found is None:
            rows = self._rows("recent_nudges", {"since": to_text(since)})
            found = self._recent_nudges[since] = {(row[0], row[1]): from_text(row[2]) for row in rows}
        return found

    @cached_property
    def mail(self) -> tuple[live.Mail, ...]:
        """Open messages by creation."""
        return tuple(self._readable("mail", live.mail_of, table="beads"))

    def is_for_mayor(self, addressee: str | None) -> bool:
        """Whether a message is for the mayor: it names the mayor, or nobody. A town may have lost its mayor."""
        agent = self.agents_by_id.get(addressee or "")
        return agent.role is Role.MAYOR if agent is not None else addressee in (None, Role.MAYOR)

    @cached_property
    def escalations(self) -> tuple[live.OpenEscalation, ...]:
        """Live escalations that may be raised again, by id."""
        return tuple(self._readable("escalations", live.escalation_of, table="beads"))

    @cached_property
    def caused_escalations(self) -> tuple[live.CausedEscalation, ...]:
        """Live escalations that a rule raised, by creation."""
        found = self._readable("caused_escalations", live.caused_of, table="beads")
        return tuple(each for each in found if each is not None)

    @cached_property
    def live_issues(self) -> Mapping[str, live.Issue]:
        """Live issues by id."""
        return {issue.id: issue for issue in self.issues}

    @cached_property
    def expiring_nudges(self) -> tuple[tuple[str, datetime], ...]:
        """Undelivered nudges that will expire, by id."""
        return tuple(self._readable("expiring_nudges", lambda row: (row[0], from_text(row[1])), table="agent_nudges"))

    @cached_property
    def unfinished_effects(self) -> frozenset[tuple[str, str]]:
        """(kind, subject) of pending and claimed effects."""
        return frozenset((row[0], row[1]) for row in self._rows("unfinished_effects"))

    def failed_starts(self, since: datetime) -> tuple[int, datetime | None]:
        """How many beads have failed to start since `since` and are not closed, and the time of the first such failure."""
        count, oldest = self._rows("failed_starts", {"since": to_text(since)})[0]
        return count, time_or_none(oldest)

    def updated_at(self, bead_id: str) -> datetime | None:
        """When a bead of any status was last updated; None if it does not exist."""
        rows = self._rows("updated_at", {"id": bead_id})
        return from_text(rows[0][0]) if rows else None

    @cached_property
    def unknown_convoys(self) -> tuple[tuple[str, str], ...]:
        """(id, status) of convoys with an unknown status."""
        return tuple((row[0], row[1]) for row in self._rows("unknown_convoys"))

    @cached_property
    def double_hooks(self) -> tuple[tuple[str, int], ...]:
        """(bead, number of agents) for each bead to which more than one agent is hooked."""
        return tuple((row[0], row[1]) for row in self._rows("double_hooks"))

    @cached_property
    def triage_requests(self) -> tuple[live.Issue, ...]:
        """Open triage requests: escalations first, then by creation."""
        requests = [
            issue for issue in self.issues if issue.status is BeadStatus.OPEN and Label.TRIAGE_REQUEST in issue.labels
        ]
        return tuple(
            sorted(
                requests,
                key=lambda issue: (
                    TriageNotes.triage_type.of(issue.metadata) != "escalation",
                    issue.created_at,
                    issue.id,
                ),
            )
        )

    @cached_property
    def triage_batch(self) -> live.Issue | None:
        """A live triage batch; None if there is none."""
        return next(
            (issue for issue in self.issues if Label.TRIAGE in issue.labels and issue.created_by == PATROL), None
        )

    def held_by_convoy(self, issue_id: str) -> bool:
        """Whether an issue is not dispatched because its convoy is staged or has ended."""
        return issue_id in self.staged_beads or issue_id in self.beads_of_ended_convoys

    def dispatchable(self, issue: live.Issue) -> bool:
        """Whether B1 may dispatch this issue, apart from attempts, backoff, breaker, drain and a full rig."""
        return (
            issue.status is BeadStatus.OPEN
            and issue.assignee is None
            and issue.rig_id is not None
            and Label.TRIAGE_REQUEST not in issue.labels
            and Label.HELD not in issue.labels
            and issue.id not in self.blockers
            and not self.held_by_convoy(issue.id)
            and issue.id not in self.hooks
        )

    @property
    def per_day(self) -> Limit | None:
        """What may be spent on a day."""
        return self._config.budget.per_day

    @cached_property
    def sums(self) -> tuple[live.UsageSum, ...]:
        """What was used for live beads and convoys; nothing is read if no budget limits that."""
        budgets = (self._config.budget, *(rig.config.budget for rig in self.rigs.values()))
        if not any(each is not None and (each.per_bead or each.per_convoy) for each in budgets):
            return ()
        return tuple(self._readable("sums", live.sum_of, table="usage_sums"))

    def sum_of_day(self, day: str) -> live.UsageSum | None:
        """What was used on a day."""
        return next(iter(self._readable("sum_of_day", live.sum_of, table="usage_sums", given={"id": day})), None)

    @cached_property
    def convoys_of_issues(self) -> Mapping[str, str]:
        """The first convoy of each live issue that is in one, by issue."""
        return dict(self._rows("convoys_of_issues"))

    def _blocker(self, row: Row) -> live.Blocker | None:
        dependent_id, dependent_type, blocker_id, status, labels_text, metadata_text = row
        try:
            labels = labels_of(labels_text)
            notified = BeadNotes.failed_blocker_notified.of(object_of(metadata_text))
        except ValueError as error:
            self.unreadable[("beads", blocker_id)] = str(error)
            return live.Blocker(blocker_id, dependent_id, "unreadable", (), notified=True)
        if status == BeadStatus.FAILED:
            holds = self._config.on_failed_dependency == "hold"
            if not holds or (dependent_type != BeadType.ISSUE and Label.REWORK not in labels):
                return None
        return live.Blocker(blocker_id, dependent_id, status, labels, notified)

    def _rows(self, name: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        return self._sql.execute(QUERIES[name], parameters or {}).fetchall()

    def _readable(
        self, name: str, read: Callable[[Row], T], *, table: str = "", given: Mapping[str, object] | None = None
    ) -> list[T]:
        found = []
        for row in self._rows(name, given):
            try:
                found.append(read(row))
            except RowUnreadable as error:
                self.unreadable[(error.table, error.key)] = error.problem
            except ValueError as error:
                self.unreadable[(table, row[0])] = str(error)
        return found
