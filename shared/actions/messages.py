"""Actions that tell somebody something: nudges, the mayor, journal and log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from shared.actions.base import Action

Tier = Literal["warn", "escalate", "force_stop"]
Mode = Literal["wait-idle", "immediate", "queue"]
Urgency = Literal["normal", "urgent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendNudge(Action):
    """Give a running agent a short text. A tier decides mode, priority, source and end by itself."""

    type: ClassVar[str] = "send_nudge"

    agent_id: str
    message: str
    tier: Tier | None = None
    source: str | None = None
    mode: Mode | None = None
    priority: Urgency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireNudge(Action):
    """A nudge that nobody took in time is over."""

    type: ClassVar[str] = "expire_nudge"

    nudge_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyMayor(Action):
    """Send the mayor a message. The subject is the text key of the effect, as in `escalation:<bead>`."""

    type: ClassVar[str] = "notify_mayor"

    subject: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitEvent(Action):
    """Note a business event for journal and log."""

    type: ClassVar[str] = "emit_event"

    event_name: str
    data: Mapping[str, Any]
