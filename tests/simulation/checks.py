"""What must never be seen. Every commit is judged at the moment when it is made, every call when it starts.

Each town has a ledger: the line of its commits as the store saw them, each replayed from its own journal row; what was
acknowledged and what became of it; which attempts of which effects the line allows, and which were made.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from shared.domain import ids
from shared.domain.alert import Alert
from shared.domain.effects import ALLOWANCE
from shared.domain.errors import Conflict, Retryable
from shared.domain.limits import MILLISECOND
from shared.domain.report import ClaimedEffect, TickReport
from shared.domain.states import EffectKind
from shared.domain.tick import Envelope, Observations, TickInput
from shared.engine import tick
from shared.events import BY_TYPE
from shared.intake import ingest
from shared.ports.object_store import ObjectStore
from shared.ports.steps import drive
from shared.runner.run_report import FailedRun, MinuteReport, RunReport
from shared.storage import head, keys, layers
from shared.town import database, journal
from tests.simulation.differences import first_difference
from tests.simulation.processes import Driver, Process
from tests.simulation.scheduler import Scheduler

_FINAL: Final = ("closed", "failed")
_MAY_REPEAT: Final = ("agent_heartbeat", "agent_status")
_REPLAYS_IN_A_ROW: Final = 8
_IMAGES: Final = 32
_SPACING: Final = timedelta(seconds=10)  # the longest alarm_interval_active that anybody sets here
_FAR: Final = timedelta(hours=20)
_CLAIMS_ALLOW: Final = timedelta(minutes=2)


class Holdings(Protocol):
    """What the store holds, looked at without a request."""

    def markers(self, town_id: str) -> tuple[str, ...]:
        """The town's due markers."""
        ...

    def inbox(self, town_id: str) -> tuple[str, ...]:
        """The keys of the town's batches."""
        ...


class _Nothing:
    def markers(self, town_id: str) -> tuple[str, ...]:
        return ()

    def inbox(self, town_id: str) -> tuple[str, ...]:
        return ()


class Checks:
    """All ledgers of a world. `problems` is empty as long as all is well."""

    def __init__(self, scheduler: Scheduler, *, clocks_differ_by: timedelta) -> None:
        self._scheduler = scheduler
        self._clocks_differ_by = clocks_differ_by
        self._close_clocks = clocks_differ_by <= _CLAIMS_ALLOW  # else claims cannot keep attempts apart
        self.holdings: Holdings = _Nothing()
        self.driver: Driver | None = None
        self.problems: list[str] = []
        self.ledgers: dict[str, Ledger] = {}
        self.poisonous: set[str] = set()
        self.figures: Counter[str] = Counter()
        self.markers_may_be_missing = False
        self._images: dict[str, bytes] = {}
        self._looking: dict[str, set[Process]] = {}
        self._suspects: set[str] = set()
        self._posted: set[str] = set()
        self._processes: dict[tuple[str, str, int], str] = {}

    def fail(self, what: str, detail: str) -> None:
        """Something happened that must not."""
        self.problems.append(f"{what}: {detail}")

    # the store

    def head_written(self, objects: ObjectStore, key: str, body: bytes, by: Process | None) -> None:
        """A commit stands: judge it."""
        town_id = key.split("/")[1]
        if by is not None:
            by.committed = town_id
        ledger = self.ledgers.get(town_id)
        read = head.decode(body, key=key, town_id=town_id)
        image = self._images.get(read.manifest.commit_id)
        if image is None or read.manifest.tick_no % _REPLAYS_IN_A_ROW == 0:
            image, _ = drive(layers.read_layers(objects, read, key=key))
        if ledger is None:
            self.ledgers[town_id] = Ledger(self, town_id, read.manifest, image)
        else:
            ledger.committed(read.manifest, image)
            ledger.committed_by = by

    def inbox_written(self, key: str, body: bytes) -> None:
        """A batch waits: results of effects among them."""
        if b'"res-' in body:
            self._posted.update(event.event_id for event in ingest.read_object(key, body))

    def require_posted(self, name: str, result_ids: Sequence[str]) -> None:
        """What the effects of one round answered waits in the inbox before the next round begins."""
        kept_back = [result for result in result_ids if result not in self._posted]
        if kept_back:
            self.fail("kept back", f"{name} goes on to its next effects, and has not posted {kept_back}")

    def image_offered(self, commit_id: str, image: bytes) -> None:
        """A worker wants to commit this. Its bytes are believed to be in the head, but for every eighth tick."""
        self._images[commit_id] = image
        if len(self._images) > _IMAGES:
            del self._images[next(iter(self._images))]

    def object_deleted(self, key: str, body: bytes) -> None:
        """Nothing is deleted that is still needed."""
        if keys.is_inbox_object(key):
            ledger = self.ledgers[key.split("/")[1]]
            for event in ingest.read_object(key, body):
                if event.event_id not in ledger.given:
                    self.fail("lost event", f"{key} was deleted before {event.event_id} was committed")

    def marker_deleted(self, key: str, by: Process | None) -> None:
        """A due marker is gone. Whoever deletes it must not rely on it himself, and must look whether somebody else does."""
        town_id = key.rsplit("/", 1)[1]
        if by is None or not by.alive:
            self.markers_may_be_missing = True  # it can look no more
            return
        by.unwatched = True
        self._looking.setdefault(town_id, set()).add(by)
        missed = None if self.markers_may_be_missing else self._missed(town_id)
        if missed is not None:
            if self.ledgers[town_id].committed_by is by:
                self.fail("no marker", missed)
            else:
                self._suspects.add(town_id)

    def looked_again(self, process: Process) -> None:
        """It has looked at inbox and head once more: nobody's marker may be missing now."""
        for town_id, looking in self._looking.items():
            looking.discard(process)
            if looking or town_id not in self._suspects:
                continue
            self._suspects.discard(town_id)
            committer = self.ledgers[town_id].committed_by
            if self.markers_may_be_missing or (committer is not None and committer.committed == town_id):
                continue  # somebody has committed just now; what he wants he will mark
            missed = self._missed(town_id)
            if missed is not None:
                self.fail("no marker", missed)

    def _missed(self, town_id: str) -> str | None:
        """What the town would do before anybody looks at it; None if nothing."""
        ledger = self.ledgers.get(town_id)
        if ledger is None or ledger.manifest.next_due is None:
            return None
        latest = keys.due_marker(town_id, max(ledger.manifest.next_due, ledger.manifest.time + _SPACING)).key
        left = sorted(self.holdings.markers(town_id))
        if left and left[0] <= latest:
            return None
        # A quiet tick moves only the marker. So see what would be missed until the first one that is left.
        first = keys.marker_of(left[0]) if left else None
        until = self._scheduler.time() + _FAR if first is None else first.at - MILLISECOND
        missed = ledger.what_if(until)
        if missed.actions or missed.effects:
            return f"{town_id} would act at {until} by {missed.actions[:2]} and is not looked at by then"
        return None

    def at_rest(self) -> None:
        """Nobody is on the way, or all are asleep: whatever was acknowledged and waits has a marker that is due by now."""
        if self.markers_may_be_missing or not self._close_clocks:
            return
        by_now = self._scheduler.time() + self._clocks_differ_by
        for town_id, ledger in self.ledgers.items():
            if ledger.waiting_for_a_tick and self.holdings.inbox(town_id):
                latest = keys.due_marker(town_id, by_now).key
                if not any(key <= latest for key in self.holdings.markers(town_id)):
                    waiting = sorted(ledger.waiting_for_a_tick)
                    self.fail("not woken", f"{town_id} has no marker that is due, and {waiting[:5]} wait")

    # the way in

    def offered(self, town_id: str, envelopes: Sequence[Envelope]) -> None:
        """Somebody tries to post these."""
        self.ledgers[town_id].offered.update(event.event_id for event in envelopes)

    def acknowledged(self, town_id: str, envelopes: Sequence[Envelope]) -> None:
        """Somebody was told that these are safe."""
        ledger = self.ledgers[town_id]
        for event in envelopes:
            ledger.acknowledged[event.event_id] = event
            if not transient(event) and event.event_id not in ledger.given:
                ledger.waiting_for_a_tick.add(event.event_id)
        self.figures["events"] += len(envelopes)

    # effects

    def effect_started(self, effect: ClaimedEffect, *, start: int, end: int) -> None:
        """An attempt is on its way."""
        town_id = str(effect.payload["town_id"])
        self.ledgers[town_id].attempted(effect, start, end, alone=self._close_clocks)
        self.figures["effects"] += 1

    def process_started(self, town_id: str, agent_id: str, generation: int, effect_id: str) -> None:
        """The runtime started a process: one for each agent and generation, under the key of the committed line."""
        key = (town_id, agent_id, generation)
        expected = ids.effect_id(town_id, EffectKind.DISPATCH_AGENT.value, agent_id, generation)
        if effect_id != expected:
            self.fail("key", f"{agent_id} generation {generation} was started under {effect_id}, not {expected}")
        if key in self._processes:
            self.fail("two processes", f"{agent_id} generation {generation}: {self._processes[key]} and {effect_id}")
        self._processes[key] = effect_id

    def key_used(self, town_id: str, effect_id: str) -> None:
        """A receiver was given an idempotency key."""
        if effect_id not in self.ledgers[town_id].started:
            self.fail("key", f"a receiver was called under {effect_id}, of which no attempt was started")

    # what workers say, as the Alerts and Metrics ports

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Alerts are about commits that stand."""
        self.figures["alerts"] += len(alerts)
        for alert in alerts:
            if alert.kind in ("rule_failed", "action_failed", "step_failed", "check_failed", "action_conflict"):
                self.fail("alert", alert.message)

    def tick_ran(self, report: RunReport) -> None:
        """A run that says committed is in the line; one that says quiet or lost promised nothing."""
        self.figures[f"runs {report.outcome}"] += 1
        if report.outcome == "committed" and report.image.facts.commit_id not in self.ledgers[report.town_id].line:
            self.fail("commit", f"{report.image.facts.commit_id} was reported as committed and is not in the line")

    def town_failed(self, failed: FailedRun) -> None:
        """A run ended with an error: something passing."""
        self.figures["runs failed"] += 1
        process = self.driver.running if self.driver is not None else None
        if process is not None:
            process.failures.append((process.runs, failed.town_id))
        self.require_passing(f"run of {failed.town_id}", failed.error)

    def minute_ran(self, report: MinuteReport) -> None:
        """A scheduled minute is over."""
        self.figures["minutes"] += 1
        self.figures["minutes late"] += report.late
        self.figures["towns handed over"] += report.handed_over
        self.figures["rescued by the sweep"] += report.restored

    def require_passing(self, what: str, error: Exception) -> None:
        """Under faults nothing ends with an error but what the next attempt can mend."""
        if not isinstance(error, Retryable | Conflict):
            self.fail("run failed", f"{what}: {type(error).__name__}: {error}")


class Ledger:
    """One town: its line of commits and everything that follows from it."""

    def __init__(self, checks: Checks, town_id: str, manifest: head.Manifest, image: bytes) -> None:
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
        self.rules: Counter[str] = Counter()
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
        self._judge(sql, row, report)
        self.image = image

    def _replaying(self) -> database.Database:
        """The image before this commit: now and then from its bytes, else as the last replay left it."""
        if self._sql is not None and self.manifest.tick_no % _REPLAYS_IN_A_ROW:
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
        events = [Envelope(**event) for event in row["inputs"]["new_events"]]
        self._events(events, row["outputs"]["events"])
        self._effects(row)
        self._beads(sql, row["outputs"]["events"])
        self.tracks = _tracks(sql)
        self._outbox(sql)
        self._agents(sql)
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
        if outcome == "conflict":
            self._fail("event", f"{event_id}: conflict, although nobody posts two contents under one id")
        if (outcome == "poisoned") != (event_id in self._checks.poisonous):
            self._fail("event", f"{event_id} ({event_type}): {outcome}")
        known = self.outcomes.setdefault(event_id, [])
        known.append(outcome)
        if len(known) > 1 and event_type not in _MAY_REPEAT and not _harmless(event_type, outcome):
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
        query = "SELECT effect_id, kind, subject, generation, attempts FROM outbox ORDER BY seq"
        for effect_id, kind, subject, generation, attempts in sql.execute(query):
            if effect_id != ids.effect_id(self.town_id, kind, subject, generation):
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

    def _reviews(self, sql: database.Database) -> None:
        query = (
            "SELECT b.rig_id, COUNT(*) FROM beads b JOIN review_metadata r ON r.bead_id = b.bead_id "
            "WHERE b.status = 'in_progress' AND r.pr_url IS NULL GROUP BY b.rig_id ORDER BY b.rig_id"
        )
        for rig_id, reviews in sql.execute(query):
            if reviews > 1:
                self._fail("reviews", f"{reviews} reviews without pull request are in progress in {rig_id}")

    # effects

    def attempted(self, effect: ClaimedEffect, start: int, end: int, *, alone: bool) -> None:
        """Judge an attempt at the moment when it starts."""
        name = f"{effect.kind} {effect.subject} {effect.generation} attempt {effect.attempt}"
        if effect.effect_id != ids.effect_id(self.town_id, effect.kind, effect.subject, effect.generation):
            self._fail("key", f"{name} is made under {effect.effect_id}")
        if (effect.effect_id, effect.attempt) not in self.allowed:
            self._fail("orphan", f"{name} is made, and no commit allows it")
        made = self.started.setdefault(effect.effect_id, [])
        if any(attempt == effect.attempt for attempt, _, _ in made):
            self._fail("executed twice", f"{name} is made a second time")
        if alone and any(began <= end and start <= ended for _, began, ended in made):
            self._fail("in flight", f"{name} is made while an earlier attempt is on its way: {made} and {start}, {end}")
        made.append((effect.attempt, start, end))


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
