"""The values that code inside a tick may read besides the image (spec/tick.md, head)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer

from shared.domain import canonical, limits
from shared.domain.config import TownConfig
from shared.domain.ids import IdMaker
from shared.domain.processes import ProcessStatus
from shared.domain.senders import Sender
from shared.domain.shapes import Time, answer, posted
from shared.domain.times import from_text, text_or_none, time_or_none, to_text


@posted
class Envelope:
    """An event as the town received it (spec/events.md section 1).

    `payload` is JSON text; before the event is decoded, it may be any text. The receiver sets `source`, `received_at` and
    `sender`, the holder of the request's token. `created_at` is the producer's time, if the producer gave one.
    """

    event_id: str
    event_type: str
    agent_id: str | None
    bead_id: str | None
    payload: str
    source: str
    created_at: str
    received_at: str
    sender: Sender | None = None

    @property
    def generation(self) -> int | None:
        """The generation whose token sent the event; None if no agent's token did, or one that was made without a generation."""
        return None if self.sender is None or self.sender.agent is None else self.sender.generation

    def as_json(self) -> dict[str, Any]:
        """The envelope as the journal stores it: an event without a known sender has no field `sender`."""
        return {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "agent_id": self.agent_id,
            "bead_id": self.bead_id,
            "payload": self.payload,
            "source": self.source,
            "created_at": self.created_at,
            "received_at": self.received_at,
            **({} if self.sender is None else {"sender": self.sender.as_json()}),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Envelope":
        """The envelope that a journal row stores."""
        sender = stored.get("sender")
        return cls(**{**stored, "sender": None if sender is None else Sender.from_json(sender)})


ByAgent = Annotated[
    tuple[tuple[str, ProcessStatus], ...],
    BeforeValidator(lambda seen: tuple(sorted(seen.items())) if isinstance(seen, Mapping) else seen),
    PlainSerializer(dict, return_type=dict[str, ProcessStatus]),
]
"""What the runtime reported about agents, in order of agent id; in answers an object with agent ids as keys."""


@answer
class Observations:
    """What the runtime reported at the start of a tick. `agents` is in order of agent id.

    `asked` is False if the runtime was not asked (a dry run without observations); the journal then stores `none`.
    """

    agents: ByAgent = ()
    container: str = "unknown"
    asked: bool = True

    def as_json(self) -> dict[str, Any] | Literal["none"]:
        """The observations as the journal stores them."""
        if not self.asked:
            return "none"
        return {
            "agents": {agent_id: seen.as_json() for agent_id, seen in self.agents},
            "container": self.container,
        }


@answer
class Archived:
    """Beads that stand in a published block of the archive, which the index of commit `index` finds: they may leave the image."""

    index: int
    bead_ids: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The form in the journal."""
        return {"index": self.index, "bead_ids": list(self.bead_ids)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Archived":
        """What a journal row stores."""
        return cls(stored["index"], tuple(stored["bead_ids"]))


@answer
class TickInput:
    """Everything that a tick reads besides the image. The journal row holds all of it.

    `waiting` counts the events that stay in the inbox; the oldest of them was received at `waiting_since`. A batch that was not
    read counts as one event, and one beyond 10,000 batches as none.
    `archived` and `returned` are None and empty in nearly all ticks: beads that may leave the image because they are published,
    and archived families that come back because a new event names one of their beads (`shared.town.archive`).
    """

    tick_no: int
    tick_id: str
    now: Time
    code_version: str
    sqlite_version: str
    config_digest: str
    prev_image_digest: str
    new_events: tuple[Envelope, ...] = ()
    more_waiting: bool = False
    waiting: int = 0
    waiting_since: Time | None = None
    observations: Observations = field(default_factory=Observations)
    due_at: Time | None = None
    journal_published_to: int = 0
    restore_window: timedelta = limits.RESTORE_WINDOW
    settings: Mapping[str, object] = field(default_factory=dict)
    own_clock: bool = False
    """Whether the town runs on a clock of its own, such as a faster one. It is stored, so that no other clock ticks the town."""
    archived: Archived | None = None
    returned: tuple[Mapping[str, Any], ...] = ()
    fleet_channels: tuple[str, ...] = ()
    """The channels on which the deployment tells people of every town, whatever the town's settings say."""

    def as_json(self) -> dict[str, Any]:
        """The column `inputs` of the journal."""
        return {
            "new_events": [event.as_json() for event in self.new_events],
            "more_waiting": self.more_waiting,
            **self._waiting_as_json(),
            "observations": self.observations.as_json(),
            "due_at": text_or_none(self.due_at),
            "prev_image_digest": self.prev_image_digest,
            "journal_published_to": self.journal_published_to,
            "restore_window_ms": self.restore_window // limits.MILLISECOND,
            "settings": dict(self.settings),
            **({"own_clock": True} if self.own_clock else {}),
            **({} if self.archived is None else {"archived": self.archived.as_json()}),
            **({"returned": [dict(record) for record in self.returned]} if self.returned else {}),
            **({"fleet_channels": list(self.fleet_channels)} if self.fleet_channels else {}),
        }

    def _waiting_as_json(self) -> dict[str, Any]:
        """What stays in the inbox; nothing if nothing does, so that most rows are shorter."""
        if not self.waiting:
            return {}
        return {"waiting": self.waiting, "waiting_since": text_or_none(self.waiting_since)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TickInput":
        """The input that a journal row (columns by name) recorded. A replay runs the same tick again from it."""
        inputs = record["inputs"]
        seen = inputs["observations"]
        return cls(
            tick_no=record["tick_no"],
            tick_id=record["tick_id"],
            now=from_text(record["now"]),
            code_version=record["code_version"],
            sqlite_version=record["sqlite_version"],
            config_digest=record["config_digest"],
            prev_image_digest=record["prev_image_digest"],
            new_events=tuple(Envelope.from_json(event) for event in inputs["new_events"]),
            more_waiting=inputs["more_waiting"],
            waiting=inputs.get("waiting", 0),
            waiting_since=time_or_none(inputs.get("waiting_since")),
            observations=Observations(asked=False)
            if seen == "none"
            else Observations(
                agents=tuple(
                    (agent_id, ProcessStatus.from_json(status)) for agent_id, status in sorted(seen["agents"].items())
                ),
                container=seen["container"],
            ),
            due_at=time_or_none(inputs["due_at"]),
            journal_published_to=inputs["journal_published_to"],
            restore_window=inputs["restore_window_ms"] * limits.MILLISECOND,
            settings=inputs["settings"],
            own_clock=inputs.get("own_clock", False),
            archived=Archived.from_json(inputs["archived"]) if "archived" in inputs else None,
            returned=tuple(inputs.get("returned", ())),
            fleet_channels=tuple(inputs.get("fleet_channels", ())),
        )


@dataclass(frozen=True, slots=True)
class Breaker:
    """The town's dispatch circuit breaker as of phase 7. `turned` means that this tick opened or closed it."""

    open: bool = False
    since: datetime | None = None
    episode: int = 0
    failures: int = 0
    turned: bool = False
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """The facts of one tick. `now` is the only clock reading; `ids` is the only source of new ids.

    `draining`, `settling` and `breaker` are valid from phase 8 on; phases 6 and 7 set them.
    """

    town_id: str
    number: int
    id: str
    now: datetime
    config: TownConfig
    ids: IdMaker
    restore_window: timedelta = limits.RESTORE_WINDOW
    draining: bool = False
    settling: bool = False
    paused: bool = False
    breaker: Breaker = field(default_factory=Breaker)
    container: str = "unknown"
    fleet_channels: tuple[str, ...] = ()

    @property
    def now_text(self) -> str:
        """`now` as the database stores it."""
        return to_text(self.now)

    def ago(self, span: timedelta) -> datetime:
        """The time that is `span` before now."""
        return self.now - span

    def stale(self, at: datetime | None, span: timedelta) -> bool:
        """Whether `at` is missing or strictly more than `span` ago."""
        return limits.stale(at, span, now=self.now)

    def within(self, at: datetime | None, span: timedelta) -> bool:
        """Whether `at` is known and at most `span` ago."""
        return limits.within(at, span, now=self.now)


def config_digest(stored_config: object) -> str:
    """The digest of a town's stored configuration, which is part of a tick's input."""
    return canonical.digest(stored_config)
