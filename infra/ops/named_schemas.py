"""Names for nested schemas: a client generator makes a class of each, and takes its name from the document.

Without names, a client would have `WaitingReasonType0`, `WaitRootReasonType0` and `CurrentWaitReasonType0` for one enumeration,
and a separate class for every object of counts.
"""

import json
from typing import Any, Final, get_args

from shared.domain.processes import ProcessState
from shared.domain.report import OutcomeWord
from shared.domain.repositories import ForgeKind
from shared.domain.states import Scope
from shared.ports.agent_logs import LogKind, LogWriter
from shared.questions.alarms import TownAlarm
from shared.questions.attention import AttentionKind
from shared.questions.bead_view import DependencyType
from shared.questions.filters import EventState, StateFilter, StatusFilter
from shared.questions.lanes import Doing, LaneKind
from shared.questions.marks import MarkKind
from shared.questions.overview import ConvoyState
from shared.questions.present import SubjectKind, UnappliedOutcome
from shared.questions.story import By
from shared.questions.waiting import WaitingReason
from shared.replay.replayed import ComparedBy, SegmentKind
from shared.replay.what_if.knowledge import WhyUnknown
from shared.rules.base import Wait
from shared.storage.restore import PointKind

_POSTED_EVENT: Final = {"type": "object", "title": "Event"}
"""The schema of an event inside a request, as its type gives it."""
_REFERENCE: Final = "#/components/schemas/"
_WORDS: Final[dict[str, tuple[Any, str]]] = {
    "ActionOutcome": (OutcomeWord, "Whether an action was applied, skipped with a reason, or failed."),
    "Alarm": (TownAlarm, "An alarm that a single town can raise."),
    "AttentionKind": (AttentionKind, "What kind of thing needs attention."),
    "BeadStatusFilter": (StatusFilter, "The status of a bead; `live` stands for open, in_progress and in_review."),
    "ConvoyState": (ConvoyState, "The progress of a convoy."),
    "DependencyType": (DependencyType, "The kind of a dependency between two beads."),
    "EventState": (EventState, "The state of an event in a town."),
    "EventStateFilter": (StateFilter, "The state of an event; `all` matches every state."),
    "ForgeKind": (ForgeKind, "The kind of a forge."),
    "LaneKind": (LaneKind, "Whether a lane is of an agent, a bead or a review."),
    "LogKind": (LogKind, "What is kept of an agent's start: what it printed, or its transcript."),
    "LogWriter": (LogWriter, "Who reported a log, the most trusted first."),
    "MarkKind": (MarkKind, "What a mark stands for: what a tick learned, decided, wrote or found broken."),
    "PointKind": (PointKind, "The kind of object that stores a restore point."),
    "ProcessState": (ProcessState, "The state of an agent's process, as its runtime reports it."),
    "WhyUnknown": (WhyUnknown, "Why history does not know the result of an effect of a what-if."),
    "ComparedBy": (ComparedBy, "What a replayed tick was compared with: its image, its recorded outputs, or nothing."),
    "Scope": (Scope, "What the holder of a town token is, and so which events it may send."),
    "SegmentKind": (SegmentKind, "Whether ticks were replayed by the code that ran them, or by other code."),
    "SpanDoing": (Doing, "What goes on during a span of a lane."),
    "StorySource": (By, "The source of an entry in a history."),
    "SubjectKind": (SubjectKind, "Whether an explanation is about a bead or an agent."),
    "TimeGuard": (Wait, "The name of a wait that time ends."),
    "UnappliedOutcome": (UnappliedOutcome, "Why an event is not applied yet."),
    "WaitingReason": (WaitingReason, "Why no agent works on a live bead."),
}
_OBJECTS: Final[dict[str, dict[str, Any]]] = {
    "Action": {
        "description": "An action. Its other fields depend on its type: see docs/spec/actions.md.",
        "type": "object",
        "properties": {"type": {"type": "string"}},
        "required": ["type"],
        "additionalProperties": True,
    },
    "Counts": {
        "description": "Counts by name.",
        "type": "object",
        "additionalProperties": {"type": "integer"},
    },
    "JsonObject": {
        "description": "An object with any fields: settings, a payload, or a row with its columns.",
        "type": "object",
        "additionalProperties": True,
    },
    "Titles": {
        "description": "Titles of beads and agents by id.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    },
}
ANY_OBJECT: Final = {"$ref": f"{_REFERENCE}JsonObject"}


class Names:
    """The components of a document, and the references to them that replace nested schemas."""

    def __init__(self, components: dict[str, Any]) -> None:
        words = {name: _set_of(*named) for name, named in _WORDS.items()}
        known = {**components, **words, **_OBJECTS}
        self._names = {_key(schema): name for name, schema in known.items() if _is_nameless(schema)}
        self._names[_key(_POSTED_EVENT)] = "Event"
        self.components = dict(sorted((name, self._inside(each)) for name, each in known.items()))

    def named(self, schema: Any) -> Any:
        """The schema, in which every named enumeration and open object is replaced by a reference."""
        if isinstance(schema, list):
            return [self.named(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        if not _is_nameless(schema) or (name := self._names.get(_key(schema))) is None:
            return self._inside(schema)
        return {"$ref": f"{_REFERENCE}{name}"} | {
            key: schema[key] for key in ("description", "default") if key in schema
        }

    def _inside(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {key: each if key in ("example", "enum") else self.named(each) for key, each in schema.items()}


def _set_of(words: Any, description: str) -> dict[str, Any]:
    return {"description": description, "type": "string", "enum": list(get_args(words))}


def _is_nameless(schema: dict[str, Any]) -> bool:
    return "enum" in schema or (
        schema.get("type") == "object" and schema.get("additionalProperties", True) is not False
    )


def _key(schema: dict[str, Any]) -> str:
    """What a schema allows, as text: without descriptions, defaults and the titles of enumerations."""
    beside = ("description", "default", "title") if "enum" in schema else ("description", "default")
    what = {key: each for key, each in schema.items() if key not in beside}
    return json.dumps({"additionalProperties": True, **what} if what["type"] == "object" else what, sort_keys=True)
