"""One town as the checkers know it: the line of its commits as the store saw them, each replayed from its own journal row,
what was acknowledged and what became of it, which attempts of which effects the line allows, and which were made.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from shared.domain import ids
from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.limits import MILLISECOND
from shared.domain.orders import rearm_of
from shared.domain.report import ClaimedEffect, TickReport
from shared.domain.states import EffectKind
from shared.domain.tick import Envelope, Observations, TickInput
from shared.engine import tick
from shared.events import BY_TYPE
from shared.images import summary
from shared.storage import head
from shared.town import database, journal
from tests.simulation.differences import first_difference
from tests.simulation.processes import Process
from tests.simulation.walls import Walls

_FINAL: Final = ("closed", "failed")
_MAY_REPEAT: Final = ("agent_heartbeat", "agent_status")
_LEAVES_NO_ROW: Final = "rejected: over budget"
"""A second copy of such an event is judged again, and is refused again or fits into the next window."""
REPLAYS_IN_A_ROW: Final = 8


class Book(Protocol):
    """All ledgers of a world, and what was seen."""

    figures: Counter[str]
    poisonous: set[str]

    def fail(self, what: str, detail: str) -> None:
        """Something happened that must not."""
        ...


class Ledger:
    """One town: its line of commits and everything that follows from it."""

    def __init__(self, checks: Book, town_id: str, manifest: head.Manifest, image: bytes) -> None:
        self._checks = checks
        self.town_id = town_id
        self.manifest = manifest
        self.committed_by: Process | None = None
        self.image = image
        self.now: datetime | None = None
        self.line: dict[str, int] = {manifest.commit_id: manifest.tick_no}
        self.statuses: dict[str, tuple[str, str]] = {}
        self.tracks: dict[str, list[str]] = {}
        self.offered: set[str] = set()
        self.acknowledged: dict[str, Envelope] = {}
        self.waiting_for_a_tick: set[str] = set()
        self.given: dict[str, Envelope] = {}
        self.outcomes: dict[str, list[str]] = {}
        self.allowed: dict[tuple[str, int], str] = {}
        self.started: dict[str, list[tuple[int, int, int]]] = {}
        self.generations: dict[str, int] = {}
        self.over: set[tuple[str, int]] = set()
        self.rules: Counter[str] = Counter()
        self.walls = Walls(town_id, self._fail)
        self._sql: database.Database | None = None

    def _fail(self, what: str, detail: str) -> None:
        self._checks.fail(what, f"{self.town_id} tick {self.manifest.tick_no}: {detail}")

    # commits

    def committed(self, manifest: head.Manifest, image: bytes) -> None:
        """Judge the commit that follows the one known so far."""
        before, self.manifest = self.manifest, manifest
        self._checks.figures["ticks"] += 1
        row = _newest_row(image)
        self._is_next_link(before, row)
        self.line[manifest.commit_id] = manifest.tick_no
        sql = self._replaying()
        report = tick.run(sql, TickInput.from_record(row), town_id=self.town_id)
        replayed = database.image_of(sql)
        if report.quiet:
            self._fail("replay", "a tick that is quiet in its replay was committed")
        elif replayed != image:
            self._fail("replay", first_difference(image, replayed))
        self._tells_its_drain(sql)
        self._judge(sql, row, report)
        self.image = image

    def _replaying(self) -> database.Database:
        """The image before this commit: now and then from its bytes, else as the last replay left it."""
        if self._sql is not None and self.manifest.tick_no % REPLAYS_IN_A_ROW:
            return self._sql
        self.close()
        self._sql = database.open_image(self.image)
        return self._sql

    def close(self) -> None:
        """No more commits."""
        if self._sql is not None:
            database.close(self._sql)
            self._sql = None

    def what_if(self, at: datetime) -> TickReport:
        """What a tick of that time would do to the committed image, if nothing else happened."""
        last = TickInput.from_record(_newest_row(self.image))
        given = replace(
            last,
            tick_no=last.tick_no + 1,
            tick_id="what if",
            now=max(at, last.now + MILLISECOND),
            new_events=(),
            more_waiting=False,
            observations=Observations(asked=False),
        )
        with database.opened(self.image) as sql:
            return tick.run(sql, given, town_id=self.town_id)

    def _tells_its_drain(self, sql: database.Database) -> None:
        """A heartbeat is answered from the manifest, so it must have the nonce of the image."""
        nonce = summary.drain_nonce(sql)
        if self.manifest.drain_nonce != nonce:
            self._fail("drain", f"its manifest says {self.manifest.drain_nonce}, its image {nonce}")

    def _is_next_link(self, before: head.Manifest, row: dict[str, Any]) -> None:
        after = self.manifest
        if (after.txid, after.tick_no) != (before.txid + 1, before.tick_no + 1):
            self._fail("chain", f"it follows tick {before.tick_no} as txid {after.txid} after {before.txid}")
        if (row["tick_no"], row["tick_id"]) != (after.tick_no, after.commit_id):
            self._fail("chain", f"its journal row is that of {row['tick_id']}")
        if row["prev_image_digest"] != before.image_digest:
            self._fail("chain", "its journal row names another image before it")
        if before.tick_no > 0 and after.time <= before.time:
            self._fail("chain", f"time went back from {before.time} to {after.time}")
        if after.commit_id in self.line:
            self._fail("chain", f"commit {after.commit_id} stands twice")

    def _judge(self, sql: database.Database, row: dict[str, Any], report: TickReport) -> None:
        events = [Envelope.from_json(event) for event in row["inputs"]["new_events"]]
        self.walls.judge(row, events=events, before=self.image, after=sql, generations=self.generations)
        self._events(events, row["outputs"]["events"])
        self._effects(row)
        self._beads(sql, row["outputs"]["events"])
        self.tracks = _tracks(sql)
        self._outbox(sql)
        self._agents(sql)
        self._leases(sql, row)
        self._reviews(sql)
        for violation in report.violations:
            self._fail("invariant", violation.message)
        self.rules.update(action["rule"] for action in row["outputs"]["actions"] if action["outcome"] == "applied")

    def _events(self, given: list[Envelope], outcomes: list[dict[str, Any]]) -> None:
        for event in given:
            if event.source in ("ingest", "operator") and event.event_id not in self.offered:
                self._fail("event", f"{event.event_id} was never posted by anybody")
            first = self.given.setdefault(event.event_id, event)
            self.waiting_for_a_tick.discard(event.event_id)
            if (first.event_type, first.payload) != (event.event_type, event.payload):
                self._fail("event", f"{event.event_id} came with another content")
        for seen in outcomes:
            self._outcome(seen["event_id"], seen["event_type"], seen["outcome"])

    def _outcome(self, event_id: str, event_type: str, outcome: str) -> None:
        if event_id not in self.given and not _derived(event_id):
            self._fail("event", f"{event_id} ({event_type}) was applied and never given")
        if outcome == "failed":
            return
        if outcome == "conflict" and not self.walls.is_his(event_id):
            self._fail("event", f"{event_id}: conflict, although nobody posts two contents under one id")
        if (outcome == "poisoned") != (event_id in self._checks.poisonous):
            self._fail("event", f"{event_id} ({event_type}): {outcome}")
        known = self.outcomes.setdefault(event_id, [])
        known.append(outcome)
        left_a_row = [each for each in known if each != _LEAVES_NO_ROW]
        if len(left_a_row) > 1 and event_type not in _MAY_REPEAT and not _harmless(event_type, outcome):
            self._fail("applied twice", f"{event_id} ({event_type}): {', '.join(known)}")

    def _effects(self, row: dict[str, Any]) -> None:
        for effect in row["outputs"]["effects"]:
            key = (effect["effect_id"], effect["attempt"])
            if key in self.allowed:
                self._fail("claim", f"attempt {key[1]} of {key[0]} was claimed by {self.allowed[key]} before")
            if key[1] > 1 and (key[0], key[1] - 1) not in self.allowed:
                self._fail("claim", f"attempt {key[1]} of {key[0]} comes before attempt {key[1] - 1}")
            self.allowed[key] = row["tick_id"]

    def _beads(self, sql: database.Database, outcomes: list[dict[str, Any]]) -> None:
        found = {
            bead_id: (bead_type, status)
            for bead_id, bead_type, status in sql.execute("SELECT bead_id, type, status FROM beads ORDER BY bead_id")
        }
        reopened = {
            self.given[seen["event_id"]].bead_id
            for seen in outcomes
            if seen["event_type"] == "bead_reopened" and seen["outcome"] == "applied"
        }
        for bead_id, (bead_type, status) in self.statuses.items():
            now = found.get(bead_id, (bead_type, "gone"))[1]
            if bead_type == "agent" or now == status or status not in (*_FINAL, "gone"):
                continue
            if status == "failed" and bead_id in reopened:
                continue
            self._fail("terminal", f"{bead_type} {bead_id} went from {status} to {now}")
        self.statuses = found

    def _outbox(self, sql: database.Database) -> None:
        query = "SELECT effect_id, kind, subject, generation, attempts, payload FROM outbox ORDER BY seq"
        for effect_id, kind, subject, generation, attempts, payload in sql.execute(query):
            rearm = rearm_of(json.loads(payload))
            if effect_id != ids.effect_id(self.town_id, kind, subject, generation, rearm=rearm):
                self._fail("key", f"{kind} {subject} {generation} has the key {effect_id}")
            if attempts > ALLOWANCE[EffectKind(kind)].attempts:
                self._fail("claim", f"{kind} {subject} {generation} has {attempts} attempts")
            if attempts > 0 and (effect_id, attempts) not in self.allowed:
                self._fail("claim", f"attempt {attempts} of {kind} {subject} {generation} is in no journal row")

    def _agents(self, sql: database.Database) -> None:
        query = "SELECT bead_id, generation FROM agent_metadata ORDER BY bead_id"
        for agent_id, generation in sql.execute(query):
            if generation < self.generations.get(agent_id, 0):
                self._fail("generation", f"{agent_id} went back to generation {generation}")
            self.generations[agent_id] = generation

    def _leases(self, sql: database.Database, row: dict[str, Any]) -> None:
        """At most one generation may work on a bead: every other one is known to be over, or its stop was requested."""
        self.over.update(_ends(row))
        self.over.update(sql.execute(_REVOKED_OR_OVER))
        working: dict[str, list[str]] = {}
        query = "SELECT subject, generation, payload FROM outbox WHERE kind = 'dispatch_agent' AND attempts > 0 ORDER BY seq"
        for agent_id, generation, payload in sql.execute(query):
            if (agent_id, generation) not in self.over:
                working.setdefault(json.loads(payload)["bead"]["id"], []).append(f"{agent_id} {generation}")
        for bead_id, generations in working.items():
            if len(generations) > 1:
                self._fail("lease", f"several generations may work on {bead_id}: {', '.join(generations)}")

    def _reviews(self, sql: database.Database) -> None:
        query = (
            "SELECT b.rig_id, COUNT(*) FROM beads b JOIN review_metadata r ON r.bead_id = b.bead_id "
            "WHERE b.status = 'in_progress' AND r.pr_url IS NULL "
            "AND json_extract(b.metadata, '$.merge_claim') IS NULL GROUP BY b.rig_id ORDER BY b.rig_id"
        )
        for rig_id, reviews in sql.execute(query):
            if reviews > 1:
                self._fail("reviews", f"{reviews} reviews without pull request are in progress in {rig_id}")

    # effects

    def attempted(self, effect: ClaimedEffect, start: int, end: int, *, alone: bool) -> None:
        """Judge an attempt at the moment when it starts."""
        name = f"{effect.kind} {effect.subject} {effect.generation} attempt {effect.attempt}"
        rearm = rearm_of(effect.payload)
        if effect.effect_id != ids.effect_id(self.town_id, effect.kind, effect.subject, effect.generation, rearm=rearm):
            self._fail("key", f"{name} is made under {effect.effect_id}")
        if (effect.effect_id, effect.attempt) not in self.allowed:
            self._fail("orphan", f"{name} is made, and no commit allows it")
        made = self.started.setdefault(effect.effect_id, [])
        if any(attempt == effect.attempt for attempt, _, _ in made):
            self._fail("executed twice", f"{name} is made a second time")
        if alone and any(began <= end and start <= ended for _, began, ended in made):
            self._fail("in flight", f"{name} is made while an earlier attempt is on its way: {made} and {start}, {end}")
        made.append((effect.attempt, start, end))


_REVOKED_OR_OVER: Final = (
    "SELECT subject, generation FROM outbox WHERE kind = 'stop_agent' UNION "
    "SELECT bead_id, generation FROM agent_metadata WHERE ended_generation = generation "
    "OR last_dispatch_outcome = 'rejected' ORDER BY 1, 2"
)
_ENDS: Final = ("agent_done", "agent_completed", "container_status", "dispatch_result", "stop_result")


def _ends(row: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The generations whose end a tick was told, by reports, results and observations."""
    for event in row["inputs"]["new_events"]:
        said = json.loads(event["payload"]) if event["event_type"] in _ENDS else {}
        ended = said.get("outcome", "rejected") == "rejected" and said.get("ok", True)
        ended = ended and said.get("status", "exited") in ("exited", "completed", "failed")
        if ended and event["agent_id"] is not None and isinstance(said.get("generation"), int):
            yield event["agent_id"], said["generation"]
    seen = row["inputs"]["observations"]
    for agent_id, status in (seen["agents"] if seen != "none" else {}).items():
        if status["status"] == "exited" and status["generation"] is not None:
            yield agent_id, status["generation"]


def _newest_row(image: bytes) -> dict[str, Any]:
    with database.opened(image) as sql:
        return journal.rows(sql, limit=1)[0]


def _tracks(sql: database.Database) -> dict[str, list[str]]:
    query = (
        "SELECT depends_on_bead_id, bead_id FROM bead_dependencies WHERE dependency_type = 'tracks' "
        "ORDER BY depends_on_bead_id, bead_id"
    )
    tracks: dict[str, list[str]] = {}
    for tracked, bead_id in sql.execute(query):
        tracks.setdefault(tracked, []).append(bead_id)
    return tracks


def _derived(event_id: str) -> bool:
    """Whether a tick made this id: a UUID of version 8."""
    return len(event_id) == 36 and event_id[14] == "8"


def _harmless(event_type: str, outcome: str) -> bool:
    """A poll that changed nothing leaves no row; if its result comes again it is late."""
    return event_type == "pr_polled" and outcome.startswith("skipped")


def transient(event: Envelope) -> bool:
    """Whether an event wakes nobody and leaves no row."""
    known = BY_TYPE.get(event.event_type)
    return known is not None and known.transient
