"""Towns for tests: images built row by row, ticks run on them, and questions about what came of it.

`a_town()` has a mayor, the rig `rig-1` and default configuration. T is the `now` of the tick under test.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from shared.domain import canonical, limits
from shared.domain.processes import ProcessStatus
from shared.domain.report import TickReport
from shared.domain.tick import Envelope, Observations, TickInput
from shared.domain.times import from_text, to_text
from shared.engine import tick
from shared.questions.waiting import Waiting
from shared.questions.waits import Waits, counts_after
from shared.town import database, journal
from shared.town.known_events import content_digest

T = from_text("2026-01-10T12:00:00.000Z")
TOWN = "t1"
MS = timedelta(milliseconds=1)


def ago(*, ms: int = 0, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> datetime:
    """The time so long before T."""
    return T - timedelta(milliseconds=ms, seconds=seconds, minutes=minutes, hours=hours, days=days)


def text(at: datetime | str | None) -> str | None:
    """A time as the database keeps it."""
    return to_text(at) if isinstance(at, datetime) else at


@dataclass
class TownBuilder:
    """Rows of a town before its tick, and then the town itself."""

    sql: database.Database = field(default_factory=lambda: database.open_image(database.new_image()))
    town_id: str = TOWN
    tick_no: int = 1
    reports: list[TickReport] = field(default_factory=list)
    payloads: dict[str, str] = field(default_factory=dict)
    """The payloads that the ticks may have stored, by digest."""
    replays: ClassVar[bool] = False
    """Whether every tick is run again from its record, and must come to the same bytes."""

    def __del__(self) -> None:
        database.close(self.sql)

    # rows -----------------------------------------------------------------------------------------

    def insert(self, table: str, **columns: Any) -> "TownBuilder":
        """A row as it is; foreign keys and checks are not enforced, so that damage can be built too."""
        values = {
            name: canonical.dumps(value) if isinstance(value, dict | list) else text(value)
            for name, value in columns.items()
        }
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        with self._unguarded():
            self.sql.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
        return self

    def update(self, table: str, key: str, **columns: Any) -> "TownBuilder":
        """Change columns of one row, whatever the state functions would say. A rig at another address has not been seen there."""
        if table == "rigs" and "git_url" in columns:
            columns.setdefault("forge_repository_id", None)
        values = {
            name: canonical.dumps(value) if isinstance(value, dict | list) else text(value)
            for name, value in columns.items()
        }
        sets = ", ".join(f"{name} = :{name}" for name in values)
        key_column = {"rigs": "id", "town": "key", "outbox": "effect_id", "town_events": "event_id"}.get(
            table, "bead_id"
        )
        with self._unguarded():
            self.sql.execute(f"UPDATE {table} SET {sets} WHERE {key_column} = :_key", {**values, "_key": key})
        return self

    def _unguarded(self) -> "_Unguarded":
        return _Unguarded(self.sql)

    def key(self, name: str, value: Any) -> "TownBuilder":
        """A town key."""
        self.sql.execute(
            "INSERT INTO town (key, value) VALUES (:name, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            {"name": name, "value": canonical.dumps(value)},
        )
        return self

    def config(self, **values: Any) -> "TownBuilder":
        """Replace the stored configuration; what is not given has its default."""
        return self.key("config", values)

    def rig(
        self, rig_id: str = "rig-1", *, name: str = "main-rig", config: Mapping[str, Any] | None = None, **columns: Any
    ) -> "TownBuilder":
        """A registered repository whose id at the forge the town has seen."""
        row = {
            "git_url": f"https://github.com/acme/{name}.git",
            "created_at": ago(days=1),
            "config": dict(config or {}),
            "forge_repository_id": None if "git_url" in columns else f"acme/{name}",
            **columns,
        }
        return self.insert("rigs", id=rig_id, name=name, **row)

    def bead(self, bead_id: str, bead_type: str = "issue", status: str = "open", **columns: Any) -> "TownBuilder":
        """A bead; an issue belongs to rig-1 unless told otherwise."""
        row: dict[str, Any] = {
            "title": bead_id,
            "rig_id": "rig-1" if bead_type in ("issue", "merge_request") else None,
            "created_at": ago(hours=2),
            "updated_at": ago(seconds=5),
            **columns,
        }
        return self.insert("beads", bead_id=bead_id, type=bead_type, status=status, **row)

    def agent(
        self,
        agent_id: str,
        role: str = "polecat",
        status: str = "idle",
        *,
        hook: str | None = None,
        rig: str | None = "rig-1",
        created_at: datetime | None = None,
        **columns: Any,
    ) -> "TownBuilder":
        """An agent with its bead; fresh (seen 5 s ago) unless told otherwise."""
        self.bead(agent_id, "agent", rig_id=None if role == "mayor" else rig, created_at=created_at or ago(hours=2))
        row = {
            "identity": f"{agent_id}-{role}-{rig}@{self.town_id}",
            "last_activity_at": ago(seconds=5),
            "generation": 1 if hook else 0,
            "last_dispatch_bead_id": hook,
            "last_dispatch_outcome": "alive" if hook else None,
            **columns,
        }
        return self.insert(
            "agent_metadata", bead_id=agent_id, role=role, status=status, current_hook_bead_id=hook, **row
        )

    def review(
        self,
        bead_id: str,
        status: str = "open",
        *,
        of: str | None = None,
        pr_url: str | None = None,
        branch: str = "gt/toast/1",
        review: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> "TownBuilder":
        """An MR bead with its review metadata and, if `of` is given, its `tracks` edge."""
        self.bead(bead_id, "merge_request", status, **columns)
        self.insert("review_metadata", bead_id=bead_id, branch=branch, pr_url=pr_url, **(review or {}))
        if of is not None:
            self.edge(bead_id, of, "tracks")
        return self

    def convoy(
        self,
        bead_id: str,
        status: str = "open",
        *,
        tracked: Iterable[str] = (),
        total: int | None = None,
        closed: int = 0,
        mode: str | None = "review-then-land",
        branch: str | None = "convoy/x/head",
        staged: int = 0,
        **columns: Any,
    ) -> "TownBuilder":
        """A convoy with its metadata and the beads that track it."""
        tracked = list(tracked)
        self.bead(bead_id, "convoy", status, **columns)
        self.insert(
            "convoy_metadata",
            bead_id=bead_id,
            total_beads=len(tracked) if total is None else total,
            closed_beads=closed,
            merge_mode=mode,
            feature_branch=branch,
            staged=staged,
        )
        for bead in tracked:
            self.edge(bead, bead_id, "tracks")
        return self

    def edge(self, bead_id: str, depends_on: str, kind: str = "blocks") -> "TownBuilder":
        """`bead_id` blocks-edge or tracks `depends_on`."""
        return self.insert("bead_dependencies", bead_id=bead_id, depends_on_bead_id=depends_on, dependency_type=kind)

    # ticks ----------------------------------------------------------------------------------------

    def tick(
        self,
        *events: Envelope,
        at: datetime = T,
        seen: Mapping[str, ProcessStatus] | None = None,
        container: str = "unknown",
        restore_window: timedelta = limits.RESTORE_WINDOW,
        more_waiting: bool = False,
        published_to: int = 0,
        fleet_channels: tuple[str, ...] = (),
        given: TickInput | None = None,
    ) -> TickReport:
        """Run the next tick; its report. A quiet tick does not count. `published_to`: journal rows that lie elsewhere."""
        due = self.value("next_due_at")
        given = given or TickInput(
            tick_no=self.tick_no + 1,
            tick_id=f"{self.tick_no + 1}-test",
            now=at,
            code_version="test",
            sqlite_version=database.SQLITE_VERSION,
            config_digest="test",
            prev_image_digest="test",
            new_events=events,
            more_waiting=more_waiting,
            observations=Observations(agents=tuple(sorted((seen or {}).items())), container=container),
            due_at=None if due is None else from_text(due),
            journal_published_to=published_to,
            restore_window=restore_window,
            fleet_channels=fleet_channels,
        )
        self._listen(given)
        before = self.image() if self.replays else b""
        report = tick.run(self.sql, given, town_id=self.town_id)
        if self.replays:
            self._require_replay(before, report)
        if not report.quiet:
            self.tick_no += 1
        self.reports.append(report)
        return report

    def _listen(self, given: TickInput) -> None:
        payloads = [event.payload for event in given.new_events]
        for _, seen in given.observations.agents:
            observed = {"status": seen.status, "exit_reason": seen.exit_reason, "generation": seen.generation}
            payloads.append(canonical.dumps({name: value for name, value in observed.items() if value}))
        self.payloads.update((content_digest(payload), payload) for payload in payloads)

    def _require_replay(self, before: bytes, report: TickReport) -> None:
        given = report.input
        if not report.quiet:
            (row,) = journal.rows(self.sql, limit=1, after=given.tick_no - 1)
            given = TickInput.from_record(row)
        with database.opened(before) as again:
            told = tick.run(again, given, town_id=self.town_id)
            assert told.outputs() == report.outputs()
            assert database.image_of(again) == self.image()

    def ticks(self, count: int, *, start: datetime = T, every: timedelta = timedelta(seconds=5)) -> list[TickReport]:
        """So many ticks in a row."""
        return [self.tick(at=start + every * number) for number in range(count)]

    # questions ------------------------------------------------------------------------------------

    def one(self, table: str, key: str, *columns: str) -> Any:
        """A column of one row, or several as a tuple; None if there is no such row."""
        key_column = {
            "rigs": "id",
            "town": "key",
            "outbox": "effect_id",
            "town_events": "event_id",
            "agent_nudges": "nudge_id",
        }.get(table, "bead_id")
        row = self.sql.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {key_column} = ?", (key,)).fetchone()
        if row is None:
            return None
        return row[0] if len(columns) == 1 else row

    def status(self, bead_id: str) -> str | None:
        """The status of a bead."""
        found: str | None = self.one("beads", bead_id, "status")
        return found

    def doing(self, agent_id: str) -> tuple[str, str | None]:
        """Status and hook of an agent."""
        found: tuple[str, str | None] = self.one("agent_metadata", agent_id, "status", "current_hook_bead_id")
        return found

    def metadata(self, bead_id: str) -> dict[str, Any]:
        """The metadata of a bead."""
        decoded: dict[str, Any] = json.loads(self.one("beads", bead_id, "metadata"))
        return decoded

    def value(self, key: str) -> Any:
        """A town key."""
        stored = self.one("town", key, "value")
        return None if stored is None else json.loads(stored)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of any query."""
        return self.sql.execute(query, parameters).fetchall()

    def heard(self, event_type: str) -> list[tuple[str | None, dict[str, Any]]]:
        """The agents and payloads of the stored events of a type, in order: processed events have only their digests."""
        rows = self.rows(
            "SELECT agent_id, payload, content_digest FROM town_events WHERE event_type = ? ORDER BY seq", event_type
        )
        return [(agent_id, json.loads(payload or self.payloads[digest])) for agent_id, payload, digest in rows]

    def waiting(self) -> dict[str, int]:
        """How many beads wait for each reason after the last tick."""
        return counts_after(self.sql, self.reports[-1].input, town_id=self.town_id)

    def waits(self, at: datetime = T) -> Mapping[str, Waiting]:
        """Why each bead waits on which no agent works, seen at a time."""
        return self.asked(at).of_beads

    def waiting_of(self, row_id: str) -> Waiting:
        """Why any bead or agent waits."""
        found = self.asked(T).of(row_id)
        assert found is not None
        return found

    def asked(self, at: datetime) -> Waits:
        """Why everything waits, seen at a time."""
        given = TickInput(
            tick_no=self.tick_no + 1,
            tick_id=f"{self.tick_no + 1}-look",
            now=at,
            code_version="test",
            sqlite_version=database.SQLITE_VERSION,
            config_digest="test",
            prev_image_digest="test",
        )
        return Waits(self.sql, given, town_id=self.town_id)

    def image(self) -> bytes:
        """The bytes of the town."""
        return database.image_of(self.sql)

    def copy(self) -> "TownBuilder":
        """An independent town of the same bytes."""
        return replace(self, sql=database.open_image(self.image()), reports=[])


class _Unguarded:
    """While it lasts, foreign keys and checks are not enforced."""

    def __init__(self, sql: database.Database) -> None:
        self._sql = sql

    def __enter__(self) -> None:
        self._sql.set_authorizer(None)
        self._sql.execute("PRAGMA foreign_keys = OFF")
        self._sql.execute("PRAGMA ignore_check_constraints = ON")

    def __exit__(self, *_: object) -> None:
        self._sql.execute("PRAGMA ignore_check_constraints = OFF")
        self._sql.execute("PRAGMA foreign_keys = ON")
        database.restrict(self._sql)


def an_empty_town(town_id: str = TOWN) -> TownBuilder:
    """A town without any bead or rig, one tick old; the last tick was 5 s before T."""
    town = TownBuilder(town_id=town_id)
    for name, value in {
        "id": town_id,
        "schema_version": database.SCHEMA_VERSION,
        "config": {},
        "tick_no": 1,
        "last_tick_at": to_text(ago(seconds=5)),
        "next_seq": 1,
        "next_audit_seq": 1,
        "breaker": {"open": False, "since": None, "episode": 0},
        "counters": {"poisoned": 0, "conflicts": 0},
        "drain": None,
        "settling_until": None,
        "paused": False,
        "last_token_refresh_at": to_text(ago(minutes=1)),
    }.items():
        town.key(name, value)
    return town


def a_town(town_id: str = TOWN) -> TownBuilder:
    """The common Given of spec/scenarios.md: rig-1 on main, default configuration, a mayor, last tick 5 s ago."""
    return an_empty_town(town_id).rig().agent("mayor", "mayor", "idle")


def event(
    event_type: str,
    payload: Mapping[str, Any] | None = None,
    *,
    event_id: str | None = None,
    agent: str | None = None,
    bead: str | None = None,
    at: datetime = T,
    created_at: datetime | None = None,
    source: str = "ingest",
) -> Envelope:
    """A fact as the inbox hands it to a tick; the id is made of its content unless given."""
    body = canonical.dumps(dict(payload or {}))
    made_up = "ev-" + canonical.digest([event_type, agent, bead, body, to_text(at)])[:16]
    return Envelope(
        event_id=event_id or made_up,
        event_type=event_type,
        agent_id=agent,
        bead_id=bead,
        payload=body,
        source=source,
        created_at=to_text(created_at or at),
        received_at=to_text(at),
    )


def actions(report: TickReport, *, rule: str | None = None, outcome: str | None = None) -> list[dict[str, Any]]:
    """The actions of a tick, of one rule or with one outcome only."""
    return [
        dict(judged.action)
        for judged in report.actions
        if (rule is None or judged.rule == rule) and (outcome is None or judged.outcome == outcome)
    ]


def rules_of(report: TickReport) -> list[str]:
    """The rules that asked for actions, in order, each once."""
    return list(dict.fromkeys(judged.rule for judged in report.actions))


def types_of(report: TickReport, *, rule: str | None = None) -> list[str]:
    """The action types of a tick, in order."""
    return [action["type"] for action in actions(report, rule=rule)]


def outcome_of(report: TickReport, event_id: str) -> str | None:
    """What became of an event."""
    return next((seen.outcome for seen in report.events if seen.event_id == event_id), None)
