"""What rules may ask: one query for each notion, answered once per pass and shared by all rules.

A reader is a snapshot by construction: rules run before any action of their pass, and every answer is kept. Every query
has a total order; none reads terminal history except through an index of a live bead.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeVar

from shared.domain import limits
from shared.domain.config import Settings, TownConfig, effective
from shared.domain.errors import RowUnreadable
from shared.domain.states import PATROL, AgentStatus, BeadStatus, BeadType, Label, Role
from shared.domain.times import from_text, to_text
from shared.town import live
from shared.town.rows import AGENT_COLUMNS, AGENT_TABLES, RIG_COLUMNS, Agent, Rig, agent_of, labels_of, object_of
from shared.town.rows import rig_of, truthy

T = TypeVar("T")

QUERIES: Final[dict[str, str]] = {
    "keys": "SELECT key, value FROM town ORDER BY key",
    "rigs": f"SELECT {RIG_COLUMNS} FROM rigs g ORDER BY g.id",  # noqa: S608 - constants
    "agents": f"SELECT {AGENT_COLUMNS} FROM {AGENT_TABLES} ORDER BY a.bead_id",  # noqa: S608 - constants
    "issues": """
        SELECT b.bead_id, b.status, b.rig_id, b.assignee_agent_bead_id, b.labels, b.metadata, b.dispatch_attempts,
               b.last_dispatch_attempt_at, b.created_by, b.created_at, b.updated_at
        FROM beads b
        WHERE b.type = 'issue' AND b.status IN ('open', 'in_progress', 'in_review')
        ORDER BY b.created_at, b.bead_id""",
    "reviews": """
        SELECT b.bead_id, b.status, b.rig_id, b.parent_bead_id, b.metadata, b.dispatch_attempts,
               b.last_dispatch_attempt_at, b.created_by, b.created_at, b.updated_at, r.branch, r.target_branch, r.pr_url,
               c.bead_id, c.merge_mode
        FROM beads b
        JOIN review_metadata r ON r.bead_id = b.bead_id
        LEFT JOIN convoy_metadata c ON c.bead_id = COALESCE(b.parent_bead_id,
            json_extract(CASE WHEN json_valid(b.metadata) THEN b.metadata ELSE '{}' END, '$.convoy_id'))
        WHERE b.type = 'merge_request' AND b.status IN ('open', 'in_progress')
        ORDER BY b.created_at, b.bead_id""",
    "blockers": """
        SELECT v.dependent_id, v.dependent_type, v.blocker_id, v.blocker_status, v.blocker_labels, v.blocker_metadata
        FROM open_blockers v
        ORDER BY v.blocker_id, v.dependent_id""",
    "staged": """
        SELECT d.bead_id
        FROM convoy_metadata m
        JOIN beads c ON c.bead_id = m.bead_id AND c.status NOT IN ('closed', 'failed')
        JOIN bead_dependencies d ON d.depends_on_bead_id = c.bead_id AND d.dependency_type = 'tracks'
        WHERE m.staged = 1
        ORDER BY d.bead_id""",
    "in_review": """
        SELECT i.bead_id, COALESCE(SUM(m.status IN ('open', 'in_progress')), 0), COALESCE(SUM(m.status = 'closed'), 0)
        FROM beads i
        LEFT JOIN bead_dependencies d ON d.depends_on_bead_id = i.bead_id AND d.dependency_type = 'tracks'
        LEFT JOIN beads m ON m.bead_id = d.bead_id AND m.type = 'merge_request'
        WHERE i.type = 'issue' AND i.status = 'in_review'
        GROUP BY i.bead_id
        ORDER BY i.bead_id""",
    "review_sources": """
        SELECT b.bead_id, d.depends_on_bead_id, s.type, s.status
        FROM beads b
        JOIN bead_dependencies d ON d.bead_id = b.bead_id AND d.dependency_type = 'tracks'
        JOIN beads s ON s.bead_id = d.depends_on_bead_id
        WHERE b.type = 'merge_request' AND b.status IN ('open', 'in_progress')
        ORDER BY b.bead_id, d.depends_on_bead_id""",
    "convoys": """
        SELECT c.bead_id, c.metadata, m.total_beads, m.closed_beads, m.feature_branch, m.merge_mode, m.staged,
               COUNT(b.bead_id), COALESCE(SUM(b.status IN ('closed', 'failed')), 0), COALESCE(SUM(b.status = 'failed'), 0),
               (SELECT f.rig_id FROM bead_dependencies e JOIN beads f ON f.bead_id = e.bead_id AND f.type = 'issue'
                WHERE e.depends_on_bead_id = c.bead_id AND e.dependency_type = 'tracks' AND f.rig_id IS NOT NULL
                ORDER BY f.created_at, f.bead_id LIMIT 1)
        FROM beads c
        JOIN convoy_metadata m ON m.bead_id = c.bead_id
        LEFT JOIN bead_dependencies d ON d.depends_on_bead_id = c.bead_id AND d.dependency_type = 'tracks'
        LEFT JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'issue'
        WHERE c.type = 'convoy' AND c.status = 'open'
        GROUP BY c.bead_id
        ORDER BY c.bead_id""",
    "convoys_in_review": """
        SELECT DISTINCT t.depends_on_bead_id
        FROM beads b
        JOIN bead_dependencies s ON s.bead_id = b.bead_id AND s.dependency_type = 'tracks'
        JOIN bead_dependencies t ON t.bead_id = s.depends_on_bead_id AND t.dependency_type = 'tracks'
        WHERE b.type = 'merge_request' AND b.status IN ('open', 'in_progress')
        ORDER BY t.depends_on_bead_id""",
    "landings": """
        SELECT b.bead_id, c.bead_id, b.status, b.metadata
        FROM beads c
        JOIN bead_dependencies d ON d.depends_on_bead_id = c.bead_id AND d.dependency_type = 'tracks'
        JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'merge_request'
        WHERE c.type = 'convoy' AND c.status = 'open'
        ORDER BY c.bead_id, b.bead_id""",
    "recent_nudges": """
        SELECT n.agent_bead_id, n.source, MAX(n.created_at)
        FROM agent_metadata a
        JOIN agent_nudges n ON n.agent_bead_id = a.bead_id
            AND n.source IN ('reconciler:warn', 'reconciler:escalate') AND n.created_at >= :since
        WHERE a.status IN ('working', 'stalled')
        GROUP BY n.agent_bead_id, n.source
        ORDER BY n.agent_bead_id, n.source""",
    "mail": """
        SELECT b.bead_id, COALESCE(b.body, b.title), b.assignee_agent_bead_id
        FROM beads b
        WHERE b.type = 'message' AND b.status = 'open'
        ORDER BY b.created_at, b.bead_id""",
    "escalations": """
        SELECT b.bead_id, b.title, e.severity, e.re_escalation_count, b.created_at
        FROM escalation_metadata e
        JOIN beads b ON b.bead_id = e.bead_id AND b.status NOT IN ('closed', 'failed')
        WHERE e.acknowledged = 0 AND e.re_escalation_count < 3
        ORDER BY b.bead_id""",
    "expiring_nudges": """
        SELECT n.nudge_id, n.expires_at
        FROM agent_nudges n
        WHERE n.delivered_at IS NULL AND n.expires_at IS NOT NULL
        ORDER BY n.nudge_id""",
    "unfinished_effects": """
        SELECT o.kind, o.subject
        FROM outbox o
        WHERE o.state IN ('pending', 'claimed')
        ORDER BY o.seq""",
    "failed_starts": """
        SELECT COUNT(*), MIN(b.last_dispatch_failed_at)
        FROM beads b
        WHERE b.last_dispatch_failed_at IS NOT NULL AND b.last_dispatch_failed_at >= :since AND b.status <> 'closed'""",
    "updated_at": "SELECT b.updated_at FROM beads b WHERE b.bead_id = :id",
    "unknown_convoys": """
        SELECT b.bead_id, b.status
        FROM beads b
        WHERE b.type = 'convoy' AND b.status NOT IN ('open', 'in_progress', 'in_review', 'closed', 'failed')
        ORDER BY b.bead_id""",
    "double_hooks": """
        SELECT a.current_hook_bead_id, COUNT(*)
        FROM agent_metadata a
        WHERE a.current_hook_bead_id IS NOT NULL
        GROUP BY a.current_hook_bead_id
        HAVING COUNT(*) > 1
        ORDER BY a.current_hook_bead_id""",
}
"""Every query of the rules and invariants, by name; the plan test explains each of them."""


class TownReader:
    """The state as rules see it. `unreadable` collects rows that could not be read, by (table, key)."""

    def __init__(self, sql: sqlite3.Connection, config: TownConfig, unreadable: dict[tuple[str, str], str]) -> None:
        """Read through `sql` with the configuration of this tick."""
        self._sql = sql
        self._config = config
        self.unreadable = unreadable
        self._settings: dict[str | None, Settings] = {}
        self._recent_nudges: dict[datetime, Mapping[tuple[str, str], datetime]] = {}

    @cached_property
    def keys(self) -> Mapping[str, Any]:
        """All town keys."""
        return {row[0]: json.loads(row[1]) for row in self._rows("keys")}

    @cached_property
    def rigs(self) -> Mapping[str, Rig]:
        """All rigs by id."""
        return {rig.id: rig for rig in self._readable("rigs", rig_of)}

    def settings(self, rig_id: str | None) -> Settings:
        """What holds for a rig, or for the town where there is no such rig."""
        found = self._settings.get(rig_id)
        if found is None:
            rig = None if rig_id is None else self.rigs.get(rig_id)
            found = self._settings[rig_id] = effective(self._config, None if rig is None else rig.config)
        return found

    @cached_property
    def agents(self) -> tuple[Agent, ...]:
        """All agents by id, with their hooks."""
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
        """The first mayor, by creation."""
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
    def blockers(self) -> Mapping[str, tuple[live.Blocker, ...]]:
        """Unresolved blockers (spec/data-model.md 3.10) by the id of the live bead that they hold back."""
        found: dict[str, list[live.Blocker]] = {}
        for row in self._rows("blockers"):
            blocker = self._blocker(row)
            if blocker is not None:
                found.setdefault(blocker.dependent_id, []).append(blocker)
        return {dependent: tuple(blockers) for dependent, blockers in found.items()}

    @cached_property
    def staged_beads(self) -> frozenset[str]:
        """Beads that track a staged live convoy."""
        return frozenset(row[0] for row in self._rows("staged"))

    @cached_property
    def in_review(self) -> Mapping[str, live.Settled]:
        """Issues in review with the counts of their MRs, by id."""
        return {row[0]: live.Settled(*row) for row in self._rows("in_review")}

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
        """Convoys of which some tracked bead has a live MR."""
        return frozenset(row[0] for row in self._rows("convoys_in_review"))

    @cached_property
    def landings(self) -> Mapping[str, tuple[live.LandingReview, ...]]:
        """Landing MRs of any status, by the id of their open convoy."""
        found: dict[str, list[live.LandingReview]] = {}
        for landing in self._readable("landings", live.landing_of, table="beads"):
            found.setdefault(landing.convoy_id, []).append(landing)
        return {convoy: tuple(landings) for convoy, landings in found.items()}

    def recent_nudges(self, since: datetime) -> Mapping[tuple[str, str], datetime]:
        """When a working or stalled agent was last nudged by a tier since then, by (agent, source)."""
        found = self._recent_nudges.get(since)
        if found is None:
            rows = self._rows("recent_nudges", {"since": to_text(since)})
            found = self._recent_nudges[since] = {(row[0], row[1]): from_text(row[2]) for row in rows}
        return found

    @cached_property
    def mail(self) -> tuple[live.Mail, ...]:
        """Open messages by creation."""
        return tuple(live.Mail(*row) for row in self._rows("mail"))

    @cached_property
    def escalations(self) -> tuple[live.OpenEscalation, ...]:
        """Live escalations that may be raised again, by id."""
        return tuple(self._readable("escalations", live.escalation_of, table="beads"))

    @cached_property
    def expiring_nudges(self) -> tuple[tuple[str, datetime], ...]:
        """Undelivered nudges with an end, by id."""
        return tuple((row[0], from_text(row[1])) for row in self._rows("expiring_nudges"))

    @cached_property
    def unfinished_effects(self) -> frozenset[tuple[str, str]]:
        """(kind, subject) of pending and claimed effects."""
        return frozenset((row[0], row[1]) for row in self._rows("unfinished_effects"))

    def failed_starts(self, since: datetime) -> tuple[int, datetime | None]:
        """How many beads, not closed, failed to start since then, and when the first of them did."""
        count, oldest = self._rows("failed_starts", {"since": to_text(since)})[0]
        return count, None if oldest is None else from_text(oldest)

    def updated_at(self, bead_id: str) -> datetime | None:
        """When a bead of any status was last updated; None if it is gone."""
        rows = self._rows("updated_at", {"id": bead_id})
        return from_text(rows[0][0]) if rows else None

    @cached_property
    def unknown_convoys(self) -> tuple[tuple[str, str], ...]:
        """(id, status) of convoys in a status that does not exist."""
        return tuple((row[0], row[1]) for row in self._rows("unknown_convoys"))

    @cached_property
    def double_hooks(self) -> tuple[tuple[str, int], ...]:
        """(bead, agents) where more than one agent is hooked to a bead."""
        return tuple((row[0], row[1]) for row in self._rows("double_hooks"))

    @cached_property
    def triage_requests(self) -> tuple[live.Issue, ...]:
        """Open triage requests: escalations first, then by creation."""
        requests = [
            issue for issue in self.issues if issue.status is BeadStatus.OPEN and Label.TRIAGE_REQUEST in issue.labels
        ]
        return tuple(
            sorted(requests, key=lambda issue: (issue.metadata.get("triage_type") != "escalation", issue.created_at, issue.id))
        )

    @cached_property
    def triage_batch(self) -> live.Issue | None:
        """A live triage batch."""
        return next(
            (issue for issue in self.issues if Label.TRIAGE in issue.labels and issue.created_by == PATROL), None
        )

    def dispatchable(self, issue: live.Issue) -> bool:
        """Whether only backoff, breaker, draining or a full rig can keep an agent from this issue (rule B1)."""
        return (
            issue.status is BeadStatus.OPEN
            and issue.assignee is None
            and issue.rig_id is not None
            and Label.TRIAGE_REQUEST not in issue.labels
            and Label.HELD not in issue.labels
            and issue.id not in self.blockers
            and issue.id not in self.staged_beads
            and issue.id not in self.hooks
        )

    def has_active_work(self, now: datetime) -> bool:
        """Whether anything goes on or could start (spec/data-model.md 3.15)."""
        return (
            any(self._occupied(agent, now) for agent in self.agents)
            or any(review.status is BeadStatus.OPEN or not review.awaiting_approval for review in self.reviews)
            or bool(self.triage_requests)
            or any(self.dispatchable(issue) for issue in self.issues)
        )

    @staticmethod
    def _occupied(agent: Agent, now: datetime) -> bool:
        if agent.status is AgentStatus.WORKING:
            return True
        if agent.status is AgentStatus.STALLED:
            return limits.within(agent.last_activity_at, limits.STALLED_ACTIVE_FOR, now=now)
        return agent.status is AgentStatus.IDLE and agent.hook is not None

    def _blocker(self, row: tuple[Any, ...]) -> live.Blocker | None:
        dependent_id, dependent_type, blocker_id, status, labels_text, metadata_text = row
        try:
            labels = labels_of(labels_text)
            notified = truthy(object_of(metadata_text), "failed_blocker_notified")
        except ValueError as error:
            self.unreadable[("beads", blocker_id)] = str(error)
            return live.Blocker(blocker_id, dependent_id, "unreadable", (), notified=True)
        if status == BeadStatus.FAILED:
            holds = self._config.on_failed_dependency == "hold"
            if not holds or (dependent_type != BeadType.ISSUE and Label.REWORK not in labels):
                return None
        return live.Blocker(blocker_id, dependent_id, status, labels, notified)

    def _rows(self, name: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return self._sql.execute(QUERIES[name], parameters or {}).fetchall()

    def _readable(self, name: str, read: Callable[[tuple[Any, ...]], T], *, table: str = "") -> list[T]:
        found = []
        for row in self._rows(name):
            try:
                found.append(read(row))
            except RowUnreadable as error:
                self.unreadable[(error.table, error.key)] = error.problem
            except ValueError as error:
                self.unreadable[(table, row[0])] = str(error)
        return found
