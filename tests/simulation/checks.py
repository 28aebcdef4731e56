"""What must never be seen. Every commit is judged at the moment when it is made, every call when it starts.

`replays` is the share of the commits that are run again from their journal rows.

Each town has a ledger (`tests.simulation.ledger`). Here stands what concerns several towns or none: markers and who may
delete them, processes and keys, posted results, the errors that a run may end with.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from traceback import extract_tb
from typing import Final, Protocol

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import ids
from shared.domain.alert import Alert
from shared.domain.errors import Conflict, Retryable
from shared.domain.limits import MILLISECOND
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.domain.tick import Envelope
from shared.intake import ingest
from shared.ports.metrics import RunFigures
from shared.ports.steps import drive
from shared.runner.run_report import FailedRun, MinuteReport, RunReport
from shared.storage import head, keys, layer_reading
from tests.simulation.ledger import REPLAYS_IN_A_ROW, Ledger, Reading, read_only, transient
from tests.simulation.past import Past
from tests.simulation.processes import Driver, Process
from tests.simulation.scheduler import Scheduler

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

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        clocks_differ_by: timedelta,
        replays: float = 1.0,
        reading: Reading = read_only,
    ) -> None:
        self._scheduler = scheduler
        self._replays = replays
        self._reading = reading
        self._clocks_differ_by = clocks_differ_by
        self._close_clocks = clocks_differ_by <= _CLAIMS_ALLOW  # else claims cannot keep attempts apart
        self.holdings: Holdings = _Nothing()
        self.driver: Driver | None = None
        self.problems: list[str] = []
        self.ledgers: dict[str, Ledger] = {}
        self.poisonous: set[str] = set()
        self.figures: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
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

    def head_written(self, objects: MemoryObjects, key: str, body: bytes, by: Process | None) -> None:
        """A commit stands: judge it."""
        town_id = key.split("/")[1]
        if by is not None:
            by.committed = town_id
        ledger = self.ledgers.get(town_id)
        read = head.decode(body, key=key, town_id=town_id)
        image = self._images.get(read.manifest.commit_id)
        if image is None or read.manifest.tick_no % REPLAYS_IN_A_ROW == 0:
            image, _ = drive(layer_reading.read_layers(objects, read, key=key))
        if ledger is None:
            past = Past(town_id, objects, self.fail, self.figures)
            self.ledgers[town_id] = Ledger(
                self, town_id, read.manifest, image, past, replays=self._replays, reading=self._reading
            )
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
                if not ledger.has_heard(event):
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
        """Nobody is on the way, or all are asleep: whatever was acknowledged and waits has a marker that is due by now, or soon.

        A run for which it was too early has left a marker for some seconds later, and takes the markers of what came meanwhile.
        """
        if self.markers_may_be_missing or not self._close_clocks:
            return
        soon = self._scheduler.time() + _SPACING + self._clocks_differ_by
        for town_id, ledger in self.ledgers.items():
            if ledger.waiting_for_a_tick and self.holdings.inbox(town_id):
                latest = keys.due_marker(town_id, soon).key
                if not any(key <= latest for key in self.holdings.markers(town_id)):
                    waiting = sorted(ledger.waiting_for_a_tick)
                    self.fail("not woken", f"{town_id} has no marker that is due soon, and {waiting[:5]} wait")

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

    def tick_ran(self, report: RunFigures) -> None:
        """A run that says committed is in the line; one that says quiet or lost promised nothing."""
        assert isinstance(report, RunReport)
        self.figures[f"runs {report.outcome}"] += 1
        if report.outcome == "committed" and report.image.facts.commit_id not in self.ledgers[report.town_id].line:
            self.fail("commit", f"{report.image.facts.commit_id} was reported as committed and is not in the line")

    def town_failed(self, failed: FailedRun) -> None:
        """A run ended with an error: something passing."""
        self.figures["runs failed"] += 1
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
            where = " <- ".join(f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[:-6:-1])
            self.fail("run failed", f"{what}: {type(error).__name__}: {error} ({where})")
