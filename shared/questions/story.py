"""The history of one bead or agent: what journal rows and the audit trail say about it, in chronological order."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal

from shared.domain import strict_json
from shared.domain.restores import restore_in
from shared.domain.senders import stored_ids
from shared.domain.shapes import Time, answer
from shared.domain.tick import Envelope
from shared.domain.times import from_text
from shared.events import BY_TYPE
from shared.history import recorded_results
from shared.history.rerun import time_of
from shared.ports.town_past import JournalRow
from shared.questions.foresight import mentions
from shared.questions.lives import AuditRow, EffectRow
from shared.questions.process_ends import ENDED_WELL
from shared.questions.sent_events import bead_of
from shared.rules import RULES

By = Literal["observed", "event", "rule", "effect", "invariant", "tick", "audit"]

CODES: Final[Mapping[str, str]] = {rule.name: rule.code for rule in RULES}
_PHASES: Final[tuple[By, ...]] = ("tick", "observed", "event", "rule", "effect", "invariant")
"""What happens first in a tick, what follows from it, and what is checked at the end."""
_WRITES: Final[Mapping[str, tuple[str, ...]]] = {
    "dispatch_agent": ("hooked", "status_changed"),
    "hook_agent": ("hooked",),
    "transition_bead": ("status_changed",),
    "unhook_agent": ("unhooked",),
}
"""The lines of the audit trail that an action of a rule writes."""


_HOOKING: Final = ("hooked", "unhooked")


@answer
class StoryEntry:
    """One thing that happened. `tick` is None if its journal row is not kept. `source` is an event, effect or audit id."""

    tick: int | None
    time: Time
    by: By
    code: str
    what: str
    outcome: str | None = None
    reason: str | None = None
    source: str | None = None

    @property
    def is_crash(self) -> bool:
        """Whether it is the end of a process that had neither done its work nor been stopped."""
        return self.by == "observed" and self.reason is not None and self.reason not in ENDED_WELL


@dataclass(frozen=True, slots=True)
class _TickSummary:
    """A short description of a tick, kept because the tick may be the cause of a wait."""

    tick: int
    time: datetime
    what: str
    source: str | None


@dataclass
class Story:
    """A story, built by reading the journal. `subject` is the bead or agent, `trail` its audit trail, `effects` the outbox."""

    subject: str
    trail: list[AuditRow]
    effects: dict[str, EffectRow]
    is_agent: bool
    hooked_now: str | None = None
    signs_of_life: int = 0
    _entries: list[StoryEntry] = field(default_factory=list)
    _ticks: list[_TickSummary] = field(default_factory=list)
    _known: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _claims: list[tuple[int, datetime, str, int]] = field(default_factory=list)
    _results: dict[tuple[str, int], tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    _last_sign: dict[str, StoryEntry] = field(default_factory=dict)
    _observed: dict[str, str] = field(default_factory=dict)
    _violated: set[tuple[int, str]] = field(default_factory=set)

    @property
    def first_tick(self) -> _TickSummary | None:
        """The first tick that was read."""
        return self._ticks[0] if self._ticks else None

    def read(self, row: JournalRow) -> None:
        """Read the next row of the journal."""
        at, tick = time_of(row), row["tick_no"]
        restore = restore_in(row)
        if restore is not None:
            self._ticks.append(_TickSummary(tick, at, restore.says(), None))
            self._entries.append(StoryEntry(tick, at, "tick", "restore", restore.says()))
            return
        outputs, inputs = row["outputs"], row["inputs"]
        done = [event["event_type"] for event in outputs["events"]]
        done += [CODES.get(judged["rule"], judged["rule"]) for judged in outputs["actions"]]
        first = next((event["event_id"] for event in outputs["events"]), None)
        self._ticks.append(_TickSummary(tick, at, ", ".join(dict.fromkeys(done)) or "nothing new", first))
        rows = self._rows_at(at)
        for event in inputs["new_events"]:
            effect = recorded_results.attempt_of(event["event_id"])
            if effect is not None:
                self._results[effect] = (event["event_id"], {**event, "payload": strict_json.stored(event["payload"])})
            if self._concerns(event, rows):
                self._known |= dict.fromkeys(_ids_of(event), event)
        self._entries += self._observations(row, at, rows)
        self._entries += self._events(row, at)
        self._entries += self._actions(row, at, rows)
        for violation in outputs["violations"]:
            key = (violation["invariant"], violation["subject"])
            if violation["subject"].rpartition(" ")[2] in rows and key not in self._violated:
                self._violated.add(key)
                self._entries.append(StoryEntry(tick, at, "invariant", f"invariant {key[0]}", violation["message"]))
        self._claims += [(tick, at, claim["effect_id"], claim["attempt"]) for claim in outputs["effects"]]

    def entries(self) -> tuple[StoryEntry, ...]:
        """The whole story. Of the transient events, such as heartbeats, it contains only the last one of each agent."""
        acts = [*self._entries, *self._last_sign.values(), *self._performed()]
        placed = [((entry.time, _PHASES.index(entry.by), 0), entry) for entry in acts]
        placed += [((entry.time, phase, 1), entry) for entry, phase in _with_causes(self._audited(), acts)]
        return tuple(entry for _, entry in sorted(placed, key=lambda each: each[0]))

    def tick_since(self, at: datetime) -> _TickSummary | None:
        """The first tick at or after `at`, which applied the events that had arrived; None if its row is not kept."""
        if not self._ticks or at < self._ticks[0].time:
            return None
        return next((seen for seen in self._ticks if seen.time >= at), None)

    def _rows_at(self, at: datetime) -> frozenset[str]:
        """The subject; for a bead also the agents that were hooked to it at that time."""
        return frozenset((self.subject,)) if self.is_agent else frozenset((self.subject, *self._hooked_at(at)))

    def _hooked_at(self, at: datetime) -> set[str]:
        """The agents hooked to the bead at a time (for an agent: its hooked beads), hooking and unhooking times included."""
        hooked = set(self._hooked_before)
        for then, what, other in self._hookings:
            if then > at:
                break
            if what == "hooked":
                hooked.add(other)
            elif then < at:
                hooked.discard(other)
        return hooked

    @cached_property
    def _hookings(self) -> tuple[tuple[datetime, str, str], ...]:
        """All hookings and unhookings, in order: time, event type, and the other side."""
        lines = [(line, self._other(line)) for line in self.trail if line.event_type in _HOOKING]
        return tuple((from_text(line.at), line.event_type, other) for line, other in lines if other is not None)

    def _other(self, line: AuditRow) -> str | None:
        return line.bead_id if self.is_agent else line.agent_id

    def _concerns(self, event: Mapping[str, Any], rows: frozenset[str]) -> bool:
        if self.subject in (event["bead_id"], event["agent_id"]):
            return True
        if event["bead_id"] is None and event["agent_id"] in rows:
            return True
        if event["bead_id"] is not None and event["bead_id"] in self._reviews:
            return True
        if self.subject not in event["payload"]:
            return False
        try:
            return mentions(strict_json.stored(event["payload"]), frozenset((self.subject,)))
        except ValueError:
            return False

    @cached_property
    def _hooked_before(self) -> frozenset[str]:
        """The agents or beads that were hooked before the audit trail begins, for example in an imported town."""
        first = {other: what for _, what, other in reversed(self._hookings)}
        before = {other for other, what in first.items() if what == "unhooked"}
        return frozenset(before | ({self.hooked_now} if self.hooked_now and self.hooked_now not in first else set()))

    @property
    def _reviews(self) -> frozenset[str]:
        """The reviews of a bead; events about them are part of its story."""
        return frozenset(line.new for line in self.trail if line.event_type == "review_submitted" and line.new)

    def _events(self, row: JournalRow, at: datetime) -> Iterator[StoryEntry]:
        for event in row["outputs"]["events"]:
            known = self._known.get(event["event_id"])
            if known is None:
                continue
            kind, outcome = event["event_type"] or known["event_type"], event["outcome"]
            by = known["agent_id"] or ""
            entry = StoryEntry(
                row["tick_no"],
                at,
                "event",
                kind,
                " ".join((kind, *(each for each in (by, bead_of(known)) if each and each != self.subject))),
                outcome,
                f"attempt {event['attempt']}: {event['error']}" if "error" in event else _said(known["payload"]),
                event["event_id"],
            )
            model = BY_TYPE.get(kind)
            if model is not None and model.transient and outcome == "applied":
                self.signs_of_life += 1
                self._last_sign[by] = entry
            else:
                yield entry

    def _observations(self, row: JournalRow, at: datetime, rows: frozenset[str]) -> Iterator[StoryEntry]:
        """Observations that became events inside the tick: processes that ended."""
        seen = row["inputs"]["observations"]
        news = any(event["event_type"] == "container_status" for event in row["outputs"]["events"])
        for agent_id, status in sorted({} if seen == "none" else seen["agents"].items()):
            if agent_id not in rows or self._observed.get(agent_id) == status["status"]:
                continue
            self._observed[agent_id] = status["status"]
            if news and status["status"] != "running":
                what = f"the process of {agent_id} is {status['status']}"
                yield StoryEntry(row["tick_no"], at, "observed", "container_status", what, reason=status["exit_reason"])

    def _actions(self, row: JournalRow, at: datetime, rows: frozenset[str]) -> Iterator[StoryEntry]:
        hooks = self._hooked_at(at) if self.is_agent else set()
        for judged in row["outputs"]["actions"]:
            action, rule = judged["action"], judged["rule"]
            its_bead = action["type"] in ("dispatch_agent", "transition_bead") and action["bead_id"] in hooks
            if not its_bead and not mentions(action, rows):
                continue
            yield StoryEntry(
                row["tick_no"],
                at,
                "rule" if rule in CODES else "event",
                CODES.get(rule, rule.removeprefix("event:")),
                sentence(action),
                judged["outcome"],
                judged["reason"] or action.get("reason"),
            )

    def _performed(self) -> Iterator[StoryEntry]:
        """Effects that were claimed, with their results from the result events or the outbox."""
        for tick, at, effect_id, attempt in self._claims:
            _, event = self._results.get((effect_id, attempt), (None, {}))
            life = self.effects.get(effect_id)
            about = {event.get("agent_id"), event.get("bead_id")}
            if life is not None:
                about |= {life.bead_id} if life.bead_id else {life.subject}
                about |= {life.subject} if self.is_agent else set()
            if self.subject not in about and not (event.get("bead_id") is None and about & self._rows_at(at)):
                continue
            kind = life.kind if life is not None else str(event["event_type"]).removesuffix("_result")
            result = event.get("payload") or (
                strict_json.stored(life.result)
                if life is not None and life.result and life.attempts == attempt
                else None
            )
            yield StoryEntry(
                tick, at, "effect", kind, f"{kind}, attempt {attempt}", _outcome(result), _said(result), effect_id
            )

    def _audited(self) -> Iterator[StoryEntry]:
        ticks = {seen.time: seen.tick for seen in self._ticks}
        for line in self.trail:
            at = from_text(line.at)
            what = f"{line.event_type}: {line.old} -> {line.new}" if line.old else line.event_type
            what = f"{what} {line.agent_id}" if line.agent_id and line.agent_id != self.subject else what
            what = f"{what} of {line.bead_id}" if line.bead_id != self.subject else what
            if line.new and not line.old and line.new != line.agent_id:
                what = f"{what}: {line.new}"
            generation = _generation(line)
            what = what if generation is None else f"{what}, generation {generation}"
            reason = _said(line.metadata)
            yield StoryEntry(ticks.get(at), at, "audit", line.event_type, what, None, reason, line.audit_id)


def _generation(line: AuditRow) -> int | None:
    """The generation of the agent that a start began, by which its log is found."""
    if line.event_type != "agent_spawned":
        return None
    try:
        found = strict_json.stored(line.metadata or "{}").get("generation")
    except ValueError:
        return None
    return found if isinstance(found, int) else None


def _with_causes(trail: Iterable[StoryEntry], acts: Iterable[StoryEntry]) -> Iterator[tuple[StoryEntry, int]]:
    """Each line of the audit trail with the phase of its tick that wrote it: the rules, from their first line on, or the events."""
    written: dict[datetime, set[str]] = {}
    heard = set()
    for act in acts:
        if act.by == "rule" and act.outcome == "applied":
            written.setdefault(act.time, set()).update(_WRITES.get(act.what.partition(" ")[0], ()))
        elif act.by in ("event", "observed"):
            heard.add(act.time)
    begun: set[datetime] = set()
    for line in trail:
        if line.code in written.get(line.time, ()) or (line.time in written and line.time not in heard):
            begun.add(line.time)
        yield line, _PHASES.index("rule" if line.time in begun else "event")


def _ids_of(event: Mapping[str, object]) -> tuple[str, ...]:
    """The ids under which the town may have an event of the inbox."""
    envelope = Envelope.from_json(event)
    return stored_ids(envelope.event_id, envelope.sender)


def sentence(action: Mapping[str, Any]) -> str:
    """An action in a few words."""
    about = [str(action[key]) for key in ("bead_id", "agent_id", "convoy_id", "subject") if action.get(key)]
    moved = f": {action['from']} -> {action['to']}" if "from" in action and "to" in action else ""
    return " ".join((str(action["type"]), *about)) + moved


def _outcome(result: object) -> str:
    if not isinstance(result, Mapping):
        return "unknown"
    if "ok" in result:
        return "ok" if result["ok"] else "failed"
    return str(result.get("outcome") or result.get("result") or result.get("status") or "known")


def _said(payload: object) -> str | None:
    """The reason in a payload, under any of the names that payloads use for it."""
    if isinstance(payload, str):
        try:
            payload = strict_json.stored(payload)
        except ValueError:
            return None
    if not isinstance(payload, Mapping):
        return None
    for name in ("reason", "error", "message", "status", "outcome", "failure_reason"):
        said = payload.get(name)
        if isinstance(said, Mapping):
            return _said(said)
        if isinstance(said, str):
            return said
    return None
