"""The result of a replay: the ticks, how each compares with history, where it diverged, and the final state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.domain.answers import ActionAnswer
from shared.domain.report import TickReport
from shared.domain.shapes import document
from shared.domain.times import text_or_none, to_text
from shared.history.differences import Difference
from shared.ports.town_past import JournalRow, PastImage
from shared.questions.snapshot import TownState
from shared.replay.answers import DivergenceAnswer, ReplayAnswer, SegmentAnswer, TickAnswer
from shared.replay.time_window import Window

Proof = Literal["image", "outputs", "none"]
"""How a tick was compared: by the digest of its pages, by its outputs, or not at all."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first tick at which a replay differs from the record, and the reason: another result, a changed or a missing record."""

    tick_no: int
    at: datetime
    differences: tuple[Difference, ...]
    reason: str

    def as_json(self) -> DivergenceAnswer:
        """The divergence as answers show it."""
        return {
            "tick": self.tick_no,
            "time": to_text(self.at),
            "reason": self.reason,
            "differences": [each.as_json() for each in self.differences],
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a tick that was run again compares with the committed one. `equal` is None if there is nothing to compare with.

    `divergence` may name the tick itself or the next one.
    """

    equal: bool | None
    proof: Proof
    differences: tuple[Difference, ...] = ()
    divergence: Divergence | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayedTick:
    """One recorded tick and what it did this time. `digest` is computed from the pages."""

    row: JournalRow
    report: TickReport
    digest: str
    judged: Judgement

    @property
    def at(self) -> datetime:
        """The `now` of the tick."""
        return self.report.input.now

    def as_json(self, results: Mapping[tuple[str, int], Any]) -> TickAnswer:
        """The tick as answers show it. `results` are the results of effects."""
        given = self.report.input
        return {
            "tick": given.tick_no,
            "tickId": given.tick_id,
            "time": to_text(given.now),
            "codeVersion": given.code_version,
            "events": [event.as_json() for event in self.report.events],
            "actions": [action.as_json() for action in self.report.actions],
            "effects": [
                {**effect.as_json(), "result": results.get((effect.effect_id, effect.attempt), "unknown")}
                for effect in self.report.effects
            ],
            "violations": [violation.as_json() for violation in self.report.violations],
            "nextDueAt": text_or_none(self.report.next_due),
            "digest": self.digest,
            "equal": self.judged.equal,
            "comparedBy": self.judged.proof,
            "differences": [each.as_json() for each in self.judged.differences],
            "note": self.judged.note,
        }


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive ticks made by one code version. It is a `replay` if the installed code ran on history's state, else a what-if."""

    first: int
    last: int
    code_version: str
    kind: Literal["replay", "what_if"]
    equal: bool | None

    def as_json(self) -> SegmentAnswer:
        """The segment as answers show it."""
        return {
            "firstTick": self.first,
            "lastTick": self.last,
            "codeVersion": self.code_version,
            "kind": self.kind,
            "equal": self.equal,
        }


@dataclass(frozen=True, slots=True)
class Replay:
    """A window that was run again. `warm_up` ticks between the image and the window were judged too, but are not shown.

    If there is a `cursor`, the window continues on the next page. `stopped` says why the replay could not continue.
    """

    town_id: str
    window: Window
    base: PastImage
    warm_up: int
    ticks: tuple[ReplayedTick, ...]
    segments: tuple[Segment, ...]
    divergence: Divergence | None
    stopped: str | None
    state: TownState
    next_actions: tuple[ActionAnswer, ...]
    results: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cursor: str | None = None

    @property
    def exact(self) -> bool:
        """Whether every tick was made by the installed code and equals its record: the image, or for another SQLite the outputs."""
        return (
            self.divergence is None
            and self.stopped is None
            and all(segment.kind == "replay" and segment.equal for segment in self.segments)
        )

    def as_json(self) -> ReplayAnswer:
        """The answer of replay-events."""
        return {
            "townId": self.town_id,
            "from": to_text(self.window.start),
            "to": to_text(self.window.end),
            "startedFrom": {
                "txid": self.base.txid,
                "tick": self.base.tick_no,
                "time": to_text(self.base.committed_at),
                "warmUpTicks": self.warm_up,
            },
            "exact": self.exact,
            "divergence": None if self.divergence is None else self.divergence.as_json(),
            "stopped": self.stopped,
            "segments": [segment.as_json() for segment in self.segments],
            "eventsReplayed": sum(len(tick.report.events) for tick in self.ticks),
            "actions": [
                {"tick": tick.report.input.tick_no, "time": to_text(tick.at), **action.as_json()}
                for tick in self.ticks
                for action in tick.report.actions
            ],
            "ticks": [tick.as_json(self.results) for tick in self.ticks],
            "stateSnapshot": document(self.state.snapshot),
            "nextActions": list(self.next_actions),
            "asOf": document(self.state.as_of),
            "notes": list(self.notes),
            "cursor": self.cursor,
        }
