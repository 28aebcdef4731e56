"""When the present states of a town began: read from the audit trail, for all live beads at once."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property

from shared.domain.notes import ReviewNotes
from shared.domain.times import readable_time
from shared.town.database import Database


class Beginnings:
    """The times at which the states of a town began. If such a time is not recorded, the answer is an earlier time that is."""

    def __init__(self, sql: Database, now: datetime) -> None:
        """Read through `sql`; no answer is later than `now`."""
        self._sql = sql
        self._now = now

    def entered(self, bead_id: str) -> datetime:
        """When a live bead came into its present status: its last move, else its creation."""
        return self._entered.get(bead_id) or self.moved(bead_id)

    def moved(self, bead_id: str) -> datetime:
        """When a bead of any status made its last move, for example when it failed."""
        row = self._sql.execute(
            "SELECT b.created_at, (SELECT MAX(e.created_at) FROM bead_events e WHERE e.bead_id = b.bead_id "
            "AND e.event_type IN ('status_changed', 'reopened')) FROM beads b WHERE b.bead_id = :id",
            {"id": bead_id},
        ).fetchone()
        return self._now if row is None else self._known(row[1], row[0])

    def reopened(self, bead_id: str) -> datetime | None:
        """When a bead was reopened for the last time; None if it never was."""
        row = self._sql.execute(
            "SELECT MAX(created_at) FROM bead_events WHERE bead_id = :id AND event_type = 'reopened'", {"id": bead_id}
        ).fetchone()
        return readable_time(row[0])

    def hooked(self, agent_id: str, bead_id: str) -> datetime:
        """Since when an agent is hooked to a bead."""
        row = self._sql.execute(
            "SELECT MAX(created_at) FROM bead_events WHERE bead_id = :bead AND agent_id = :agent AND event_type = 'hooked'",
            {"bead": bead_id, "agent": agent_id},
        ).fetchone()
        return self._known(row[0], None) if row[0] else self.moved(bead_id)

    def labelled(self, bead_id: str) -> datetime:
        """Since when a bead has the label gt:held: the event that put it on, else its last update of labels, else its creation."""
        since: datetime | None = None
        rows = self._sql.execute(
            "SELECT created_at, json_extract(metadata, '$.held') FROM bead_events WHERE bead_id = :id "
            "AND event_type IN ('created', 'fields_updated') AND json_extract(metadata, '$.held') IS NOT NULL ORDER BY seq",
            {"id": bead_id},
        ).fetchall()
        for at, is_held in rows:
            since = (since or self._known(at, None)) if is_held else None
        return since or self._relabelled(bead_id) or self.created(bead_id)

    def exited(self, agent_id: str, otherwise: datetime) -> datetime:
        """When the process of an agent was last known to have ended; `otherwise` if that is not recorded after that time."""
        row = self._sql.execute(
            "SELECT MAX(created_at) FROM bead_events WHERE agent_id = :id AND event_type = 'agent_exited'",
            {"id": agent_id},
        ).fetchone()
        return self.latest((otherwise, readable_time(row[0]) or otherwise))

    def news_of_forge(self, bead_id: str) -> datetime:
        """When a pull request came into its present state: the last poll or report with news, else its creation."""
        news = readable_time(self._news(bead_id))
        return self.latest((self.entered(bead_id), news or self.entered(bead_id)))

    def tasks_ended(self, convoy_id: str) -> datetime:
        """When the last of a convoy's tasks ended, all of which have ended; for a convoy without tasks, now."""
        rows = self._sql.execute(
            "SELECT d.bead_id FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'issue' "
            "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' ORDER BY d.bead_id",
            {"id": convoy_id},
        ).fetchall()
        return self.latest(self.moved(bead_id) for (bead_id,) in rows)

    def created(self, bead_id: str) -> datetime:
        """When a bead was created."""
        row = self._sql.execute("SELECT created_at FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()
        return self._now if row is None else self._known(row[0], None)

    def at_most_now(self, at: datetime | None) -> datetime:
        """The time itself, or now if it is unknown or later."""
        return self._now if at is None else min(at, self._now)

    def latest(self, times: Iterable[datetime]) -> datetime:
        """The latest of these times, but at most now."""
        return self.at_most_now(max(times, default=self._now))

    @cached_property
    def _entered(self) -> Mapping[str, datetime]:
        rows = self._sql.execute(
            "SELECT b.bead_id, CASE b.status WHEN 'open' THEN b.created_at ELSE b.updated_at END, MAX(e.created_at) "
            "FROM beads b LEFT JOIN bead_events e ON e.bead_id = b.bead_id AND e.event_type IN ('status_changed', 'reopened') "
            "WHERE b.type IN ('issue', 'message', 'escalation', 'merge_request', 'convoy', 'molecule') "
            "AND b.status IN ('open', 'in_progress', 'in_review') GROUP BY b.bead_id ORDER BY b.bead_id"
        ).fetchall()
        return {bead_id: self._known(moved, otherwise) for bead_id, otherwise, moved in rows}

    def _news(self, bead_id: str) -> str | None:
        """The last news of a pull request: what a poll found, or that the town came to know it."""
        row = self._sql.execute(
            "SELECT MAX(at) FROM (SELECT json_extract(metadata, :changed_at) AS at FROM beads WHERE bead_id = :id "
            "UNION ALL SELECT created_at FROM bead_events WHERE bead_id = :id "
            "AND event_type IN ('pr_created', 'babysit_started'))",
            {"id": bead_id, "changed_at": f"$.{ReviewNotes.changed_at.name}"},
        ).fetchone()
        news: str | None = row[0]
        return news

    def _relabelled(self, bead_id: str) -> datetime | None:
        """The last update of a bead's labels in the audit trail."""
        row = self._sql.execute(
            "SELECT MAX(created_at) FROM bead_events WHERE bead_id = :id AND event_type = 'fields_updated' "
            "AND instr(metadata, '\"labels\"') > 0",
            {"id": bead_id},
        ).fetchone()
        return readable_time(row[0])

    def _known(self, at: str | None, otherwise: str | None) -> datetime:
        found = readable_time(at) or readable_time(otherwise)
        return self.at_most_now(found)
