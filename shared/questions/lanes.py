"""Lanes: what each agent, bead and review did over time, as the audit trail of an image tells it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from shared.domain.shapes import Time, answer
from shared.domain.times import readable_time, to_text
from shared.town.database import Database

LaneKind = Literal["agent", "bead", "review"]
Doing = Literal["waits", "works", "reviews", "in_review", "checks"]
LANES_AT_MOST: Final = 300
_WORKED: Final = "('hooked', 'unhooked')"
_IN_WINDOW: Final = (
    "SELECT DISTINCT b.bead_id FROM bead_events e JOIN beads b ON b.bead_id = e.bead_id "
    "WHERE e.created_at >= :start AND e.created_at <= :end AND b.type IN ('issue', 'merge_request')"
)
_LIVE: Final = (
    "SELECT b.bead_id FROM beads b WHERE b.type IN ('issue', 'merge_request') "
    "AND b.status IN ('open', 'in_progress', 'in_review') AND b.created_at <= :end"
)
_BEADS: Final = (
    "SELECT b.bead_id, b.type, b.status, b.title, b.created_at FROM json_each(:ids) i JOIN beads b ON b.bead_id = i.value "
    "ORDER BY b.status IN ('closed', 'failed'), b.created_at, b.bead_id"
)
_TRAIL: Final = (
    "SELECT e.bead_id, e.agent_id, e.event_type, e.new_value, e.created_at FROM json_each(:ids) i "
    "JOIN bead_events e ON e.bead_id = i.value WHERE e.created_at <= :end ORDER BY e.seq"
)
_AGENTS: Final = (
    "SELECT a.bead_id, a.role, a.status, b.title, b.created_at FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id "
    "ORDER BY CASE a.role WHEN 'polecat' THEN 0 WHEN 'refinery' THEN 1 ELSE 2 END, b.title, a.bead_id"
)
_HOOKS: Final = (
    f"SELECT e.agent_id, e.bead_id, e.event_type, e.created_at FROM bead_events e WHERE e.event_type IN {_WORKED} "  # noqa: S608
    "AND e.agent_id IS NOT NULL AND e.created_at <= :end ORDER BY e.seq"
)


@answer
class Span:
    """A time during which one thing went on. `end` is null if it goes on. `of` is the agent of a bead, or the bead of an agent."""

    doing: Doing
    start: Time
    end: Time | None
    of: str | None


@answer
class Lane:
    """One agent, bead or review over time, with its status now. `endedAt` is when a bead was closed or failed."""

    id: str
    kind: LaneKind
    title: str
    status: str
    spans: tuple[Span, ...]
    ended_at: Time | None


def lanes(sql: Database, *, start: datetime, end: datetime) -> tuple[tuple[Lane, ...], int]:
    """The lanes of a window, agents first, then beads and reviews, live ones first; and how many more there are.

    If there are more than LANES_AT_MOST, live beads to which nothing happened in the window have none.
    """
    window = {"start": to_text(start), "end": to_text(end)}
    touched = [bead for (bead,) in sql.execute(_IN_WINDOW, window)]
    live = [bead for (bead,) in sql.execute(_LIVE, {"end": window["end"]})]
    wanted = list(dict.fromkeys([*touched, *live]))
    ids = json.dumps(wanted[:LANES_AT_MOST])
    trails: dict[str, _Trail] = {}
    rows = sql.execute(_BEADS, {"ids": ids}).fetchall()
    for bead_id, kind, _, _, created_at in rows:
        trails[bead_id] = _Trail(is_review=kind == "merge_request")
        trails[bead_id].move("open", readable_time(created_at))
    for bead_id, agent, event, new, at in sql.execute(_TRAIL, {"ids": ids, "end": window["end"]}):
        if bead_id in trails and (when := readable_time(at)) is not None:
            trails[bead_id].read(event, agent, new, when)
    found = [*_agents(sql, window, start)]
    for bead_id, kind, status, title, _ in rows:
        trail = trails[bead_id]
        found.append(
            Lane(
                bead_id,
                "review" if kind == "merge_request" else "bead",
                title,
                status,
                trail.spans(start),
                trail.ended_at,
            )
        )
    return tuple(found), len(wanted) - len(rows)


def _agents(sql: Database, window: Mapping[str, str], start: datetime) -> Iterator[Lane]:
    spans: dict[str, list[Span]] = {}
    hooked: dict[str, tuple[str, datetime]] = {}
    roles = {row[0]: row for row in sql.execute(_AGENTS)}
    for agent, bead, event, at in sql.execute(_HOOKS, {"end": window["end"]}):
        when = readable_time(at)
        if when is None:
            continue
        before = hooked.pop(agent, None)
        doing: Doing = "reviews" if agent in roles and roles[agent][1] == "refinery" else "works"
        if before is not None:
            spans.setdefault(agent, []).append(Span(doing, before[1], when, before[0]))
        if event == "hooked":
            hooked[agent] = (bead, when)
    for agent, (_, role, status, title, _) in roles.items():
        mine = spans.get(agent, [])
        if agent in hooked:
            bead, since = hooked[agent]
            mine = [*mine, Span("reviews" if role == "refinery" else "works", since, None, bead)]
        seen = tuple(span for span in mine if span.end is None or span.end >= start)
        yield Lane(agent, "agent", title, status, seen, None)


@dataclass
class _Trail:
    """The audit lines of one bead, read in order."""

    is_review: bool
    ended_at: datetime | None = None
    _status: str = ""
    _since: datetime | None = None
    _agent: str | None = None
    _last_agent: str | None = None
    _review: str | None = None
    _found: list[Span] = field(default_factory=list)

    def read(self, event: str, agent: str | None, new: str | None, at: datetime) -> None:
        """Read the next line."""
        if event == "hooked":
            self._cut(at)
            self._agent = self._last_agent = agent
            if self._found and self._found[-1].doing == "works" and self._found[-1].start == at:
                self._found.pop()
        elif event == "unhooked":
            self._cut(at)
            self._agent = None
        elif event == "review_submitted":
            self._review = new
        elif event in ("status_changed", "closed", "reopened") and new is not None:
            self.move(new, at)

    def move(self, status: str, at: datetime | None) -> None:
        """The bead has this status from `at` on."""
        if at is None:
            return
        self._cut(at)
        self._status = status
        self.ended_at = at if status in ("closed", "failed") else None
        if status in ("closed", "failed"):
            self._since = None

    def _cut(self, at: datetime) -> None:
        if self._since is not None and self._since < at and self._status:
            self._found.append(Span(self._doing, self._since, at, self._of))
        self._since = at

    @property
    def _doing(self) -> Doing:
        if self._status == "open":
            return "waits"
        if self.is_review:
            return "reviews" if self._agent is not None else "checks"
        return "in_review" if self._status == "in_review" else "works"

    @property
    def _of(self) -> str | None:
        if self._status == "in_review" and not self.is_review:
            return self._review
        return None if self._status == "open" else self._agent or (None if self.is_review else self._last_agent)

    def spans(self, start: datetime) -> tuple[Span, ...]:
        """What is not over at `start`, neighbours of the same kind joined."""
        found = list(self._found)
        if self._since is not None and self.ended_at is None and self._status:
            found.append(Span(self._doing, self._since, None, self._of))
        joined: list[Span] = []
        for span in found:
            last = joined[-1] if joined else None
            if last is not None and (last.doing, last.of, last.end) == (span.doing, span.of, span.start):
                joined[-1] = Span(last.doing, last.start, span.end, last.of)
            else:
                joined.append(span)
        return tuple(span for span in joined if span.end is None or span.end >= start)
