"""One town as the checkers know it: the line of its commits as the store saw them, a share replayed from their own journal rows,
what was acknowledged and what became of it, which attempts of which effects the line allows, and which were made.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from shared.domain import ids, limits
from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.limits import MILLISECOND
from shared.domain.orders import rearm_of
from shared.domain.report import ClaimedEffect, TickReport
from shared.domain.states import EffectKind
from shared.domain.tick import Envelope, Observations, TickInput
from shared.engine import tick
from shared.events import BY_TYPE
from shared.events.beats import HEARTBEAT, outdone
from shared.history import self_check
from shared.images import summary
from shared.questions.waits import counts_after
from shared.storage import head
from shared.town import database, journal
from shared.town.town_keys import TownKeys
from tests.simulation.differences import first_difference
from tests.simulation.past import Past
from tests.simulation.processes import Process
from tests.simulation.walls import Walls

_FINAL: Final = ("closed", "failed")
_MAY_REPEAT: Final = ("agent_heartbeat", "agent_status", "agent_usage")
_LEAVES_NO_ROW: Final = "rejected: over budget"
"""A second copy of such an event is judged again, and is refused again or fits into the next window."""
REPLAYS_IN_A_ROW: Final = 8
_ASKED_FOR_WAITS: Final = 0.05
"""The share of the commits after which the town is asked why its beads wait."""
_MENDED_AFTER: Final = 30
"""A started town has mended its strange rows after so many ticks."""


Reading = Callable[[bytes], AbstractContextManager[sqlite3.Connection]]
"""Opens an image, only to be read."""


class Book(Protocol):
    """All ledgers of a world, and what was seen."""

    figures: Counter[str]
    reasons: Counter[str]
    poisonous: set[str]

    def fail(self, what: str, detail: str) -> None:
        """Something happened that must not."""
        ...


class Ledger:
    """One town: its line of commits and everything that follows from it."""

    def __init__(
        self,
        checks: Book,
        town_id: str,
        manifest: head.Manifest,
        image: bytes,
        past: Past,
        *,
        replays: float,
        reading: Reading,
    ) -> None:
        self._checks = checks
        self._replays = replays
        self._reading = reading
        self.past = past
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
        self._beats: dict[str | None, list[Envelope]] = {}
        self.outcomes: dict[str, list[tuple[int, str]]] = {}
        """What became of each event, with the number of the tick."""
        self.allowed: set[tuple[str, int]] = set()
        self.claims: dict[tuple[str, int], str] = {}
        """The attempts that commits have claimed since the last restore, each with its tick; `allowed` are all."""
        self.settled_from: datetime | None = None
        """After a restore: when the claims of the discarded future are over."""
        self.started: dict[str, list[tuple[int, int, int]]] = {}
        self.generations: dict[str, int] = {}
        self.over: set[tuple[str, int]] = set()
        self.rules: Counter[str] = Counter()
        self.walls = Walls(town_id, self._fail)
        self._met_at_forges: set[tuple[str | None, ...]] = set()
        self.is_imported = False
        """Whether it was imported with rows that no events lead to."""
        self._mended_from = 0
        self._sql: database.Database | None = None
        self._replayed_to = 0
        self._row: tuple[int, bool] | None = None
        self._has_right_key: set[tuple[object, ...]] = set()
        """The rows of the outbox whose key was found to be that of their effect."""
        past.committed(manifest)

    def _fail(self, what: str, detail: str) -> None:
        self._checks.fail(what, f"{self.town_id} tick {self.manifest.tick_no}: {detail}")

    # commits

    def committed(self, manifest: head.Manifest, image: bytes) -> None:
        """Judge the commit that follows the one known so far."""
        before, self.manifest = self.manifest, manifest
        self._checks.figures["ticks"] += 1
        with self._reading(image) as sql:
            row = journal.rows(sql, limit=1)[0]
            self._is_next_link(before, row)
            self.line[manifest.commit_id] = manifest.tick_no
            self.past.committed(manifest)
            if "restore" in row["inputs"]:
                self._restored(sql, row)
            elif self._is_replayed(manifest):
                self._replay(row, image)
            self.past.moved(self.image, sql, row)
            self._tells_its_drain(sql)
            self._judge(sql, row)
            self.past.left(sql)
            if self._tells_news_of_forges(sql) or self_check.chosen(f"waits {manifest.commit_id}", _ASKED_FOR_WAITS):
                self._checks.reasons.update(counts_after(sql, TickInput.from_record(row), town_id=self.town_id))
        self.image = image

    def _tells_news_of_forges(self, sql: sqlite3.Connection) -> bool:
        """Whether a review has met something at its forge that none of this town has met before."""
        met = set(sql.execute(_MET_AT_FORGES).fetchall()) - self._met_at_forges
        self._met_at_forges |= met
        return bool(met)

    def _restored(self, sql: sqlite3.Connection, row: dict[str, Any]) -> None:
        """An operator has brought an old image back: what happened since then counts no more, except outside of the town.

        Every agent has a new generation, so all that were started before are over, whatever the restored outbox says of them.
        """
        self._checks.figures["restores in place"] += 1
        restored_to = row["inputs"]["restore"]["restored_tick"]
        for event_id, outcomes in list(self.outcomes.items()):
            kept = [seen for seen in outcomes if seen[0] <= restored_to]
            if kept:
                self.outcomes[event_id] = kept
                continue
            del self.outcomes[event_id]
        for event_id in (self.acknowledged.keys() & self.given.keys()) - self.outcomes.keys():
            del self.acknowledged[event_id]
        self.statuses = {}
        self.past.restored_to(restored_to)
        self._mended_from = self.manifest.tick_no + _MENDED_AFTER
        self.claims = {}
        self.started = {effect_id: [] for effect_id in self.started}
        self.settled_from = datetime.fromisoformat(row["now"]) + limits.EFFECT_CLAIM
        self.over.update(sql.execute("SELECT subject, generation FROM outbox WHERE kind = 'dispatch_agent'").fetchall())

    def _is_replayed(self, manifest: head.Manifest) -> bool:
        """Whether this commit is run again. Those of a row are all run again or none, so that one database serves them all."""
        number = manifest.tick_no // REPLAYS_IN_A_ROW
        if self._row is None or self._row[0] != number:
            self._row = (number, self_check.chosen(manifest.commit_id, self._replays))
        return self._row[1]

    def _replay(self, row: dict[str, Any], image: bytes) -> None:
        """The same input on the image before it gives the same bytes."""
        self._checks.figures["ticks replayed"] += 1
        sql = self._replaying()
        report = tick.run(sql, TickInput.from_record(row), town_id=self.town_id)
        replayed = database.image_of(sql)
        self._replayed_to = self.manifest.tick_no
        if report.quiet:
            self._fail("replay", "a tick that is quiet in its replay was committed")
        elif replayed != image:
            self._fail("replay", first_difference(image, replayed))

    def _replaying(self) -> database.Database:
        """The image before this commit: as the last replay left it, or, now and then, from its bytes."""
        number = self.manifest.tick_no
        if self._sql is not None and self._replayed_to == number - 1 and number % REPLAYS_IN_A_ROW:
            return self._sql
        self.close()
        self._sql = database.open_image(self.image)
        return self._sql

    def has_heard(self, event: Envelope) -> bool:
        """Whether a tick was given this event or, of a heartbeat, one that outdoes it."""
        if event.event_id in self.given:
            return True
        newer = self._beats.get(event.agent_id, ()) if event.event_type == HEARTBEAT else ()
        return any(0 in outdone((event, other)) for other in reversed(newer))

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
        is_of_a_tick = before.tick_no > 0 and not before.commit_id.startswith("import-")
        if is_of_a_tick and after.time <= before.time and after.epoch == before.epoch:
            self._fail("chain", f"time went back from {before.time} to {after.time}")
        if after.commit_id in self.line:
            self._fail("chain", f"commit {after.commit_id} stands twice")

    def _judge(self, sql: database.Database, row: dict[str, Any]) -> None:
        events = [Envelope.from_json(event) for event in row["inputs"]["new_events"]]
        self.walls.judge(row, events=events, before=self.image, after=sql, generations=self.generations)
        self._events(events, row["outputs"]["events"])
        for event_id, event_type in sql.execute(_DELETED_WITH_THEIR_BEAD, (row["now"],)).fetchall():
            self._outcome(event_id, event_type, "skipped: deleted")
        self._effects(sql, row)
        self._beads(sql, row["outputs"]["events"])
        self.tracks = _tracks(sql)
        self._outbox(sql)
        self._agents(sql)
        self._leases(sql, row)
        if not self._is_still_strange(sql):
            self._reviews(sql)
            for (message,) in sql.execute(_OPEN_VIOLATIONS).fetchall():
                self._fail("invariant", message)
        self.rules.update(action["rule"] for action in row["outputs"]["actions"] if action["outcome"] == "applied")

    def _is_still_strange(self, sql: database.Database) -> bool:
        """Whether the town still has rows with which it was imported: no rule mends them while it is paused."""
        if self.is_imported and TownKeys(sql).paused:
            self._mended_from = self.manifest.tick_no + _MENDED_AFTER
        return self.is_imported and self.manifest.tick_no < self._mended_from

    def _events(self, given: list[Envelope], outcomes: list[dict[str, Any]]) -> None:
        for event in given:
            if event.source in ("ingest", "operator") and event.event_id not in self.offered:
                self._fail("event", f"{event.event_id} was never posted by anybody")
            first = self.given.setdefault(event.event_id, event)
            if event.event_type == HEARTBEAT:
                self._beats.setdefault(event.agent_id, []).append(event)
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
        known.append((self.manifest.tick_no, outcome))
        left_a_row = [each for _, each in known if each != _LEAVES_NO_ROW]
        if len(left_a_row) > 1 and event_type not in _MAY_REPEAT and not self._is_harmless(event_id, outcome):
            self._fail("applied twice", f"{event_id} ({event_type}): {known}")

    def _is_harmless(self, event_id: str, outcome: str) -> bool:
        """Whether a copy was judged again, and changed nothing, because nothing is kept of the first one.

        The row of a result goes after hours, or there is none; if the result comes again, its effect has ended. And beyond the
        budget of an agent, which only a thief uses up, what is not applied leaves no row.
        """
        return (event_id.startswith("res-") or self.walls.is_his(event_id)) and outcome.startswith("skipped")

    def _effects(self, sql: sqlite3.Connection, row: dict[str, Any]) -> None:
        for effect in row["outputs"]["effects"]:
            key = (effect["effect_id"], effect["attempt"])
            if key in self.claims:
                named = sql.execute("SELECT kind, subject, generation FROM outbox WHERE effect_id = ?", (key[0],))
                name = " ".join(map(str, named.fetchone() or ()))
                self._fail("claim", f"attempt {key[1]} of {name} was claimed by {self.claims[key]} before")
            if key[1] > 1 and (key[0], key[1] - 1) not in self.allowed:
                self._fail("claim", f"attempt {key[1]} of {key[0]} comes before attempt {key[1] - 1}")
            self.allowed.add(key)
            self.claims[key] = row["tick_id"]

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
            if now == "gone" and bead_id in self.past.archived:
                continue
            self._fail("terminal", f"{bead_type} {bead_id} went from {status} to {now}")
        self.statuses = found

    def _outbox(self, sql: database.Database) -> None:
        query = "SELECT effect_id, kind, subject, generation, attempts, payload FROM outbox ORDER BY seq"
        for effect_id, kind, subject, generation, attempts, payload in sql.execute(query):
            seen = (effect_id, kind, subject, generation, payload)
            if seen not in self._has_right_key:
                rearm = rearm_of(json.loads(payload))
                if effect_id != ids.effect_id(self.town_id, kind, subject, generation, rearm=rearm):
                    self._fail("key", f"{kind} {subject} {generation} has the key {effect_id}")
                else:
                    self._has_right_key.add(seen)
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
        if self.settled_from is not None and self.manifest.time < self.settled_from:
            made.clear()  # of the discarded future: its workers do not know yet that it is none
        if any(attempt == effect.attempt for attempt, _, _ in made):
            self._fail("executed twice", f"{name} is made a second time")
        if alone and any(began <= end and start <= ended for _, began, ended in made):
            self._fail("in flight", f"{name} is made while an earlier attempt is on its way: {made} and {start}, {end}")
        made.append((effect.attempt, start, end))


_MET_AT_FORGES: Final = (
    "SELECT DISTINCT json_extract(metadata, '$.obstacle'), json_extract(metadata, '$.poll_error_kind') FROM beads "
    "WHERE type = 'merge_request' AND status = 'in_progress'"
)
_DELETED_WITH_THEIR_BEAD: Final = (
    "SELECT event_id, event_type FROM town_events WHERE outcome = 'skipped: deleted' AND processed_at = ? ORDER BY seq"
)
_OPEN_VIOLATIONS: Final = "SELECT message FROM open_violations WHERE opened_at IS NOT NULL ORDER BY invariant, subject"
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
        generation = said.get("generation")
        if event["event_type"] == "agent_completed" and generation is None:
            # that of the token (spec/events.md section 2.1), also if a thief has it
            generation = (event.get("sender") or {}).get("generation")
        if ended and event["agent_id"] is not None and isinstance(generation, int):
            yield event["agent_id"], generation
    seen = row["inputs"]["observations"]
    for agent_id, status in (seen["agents"] if seen != "none" else {}).items():
        if status["status"] == "exited" and status["generation"] is not None:
            yield agent_id, status["generation"]


@contextmanager
def read_only(image: bytes) -> Iterator[sqlite3.Connection]:
    """The tables of an image that this world's own code has committed. Unlike `database.open_image` it inspects nothing."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sql:
        sql.deserialize(image)
        yield sql


def _newest_row(image: bytes) -> dict[str, Any]:
    with read_only(image) as sql:
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


def transient(event: Envelope) -> bool:
    """Whether an event wakes nobody and leaves no row."""
    known = BY_TYPE.get(event.event_type)
    return known is not None and known.transient
