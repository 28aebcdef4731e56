"""Keeping the logs of agents: who may report which log, and how much of it."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from functions.access import require_town_id
from functions.claims import Holder
from functions.events.schemas import LogQuery
from functions.pace import Pace
from functions.problems import not_found
from shared.domain.errors import Refused, UnknownTown
from shared.domain.ids import is_subject_id
from shared.ports.agent_logs import LogName
from shared.ports.logged_texts import MOST_SENT
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Call, Steps
from shared.questions.receipts import KeptLogReport
from shared.storage import keys
from shared.storage.agent_logs import StoredLogs


@dataclass(frozen=True, slots=True)
class LogShelf:
    """Where the logs of agents are kept, and how often one may be reported."""

    objects: ObjectStore
    pace: Pace

    def take(
        self, town_id: str, agent_id: str, asked: LogQuery, body: bytes, holder: Holder, *, now: datetime
    ) -> Steps[KeptLogReport]:
        """Keep the newest part of a log without its secrets. Raises Refused, UnknownTown."""
        require_town_id(town_id)
        if holder.town != town_id:
            raise not_found()
        name = _name(agent_id, asked, holder)
        if len(body) > MOST_SENT:
            hint = f"send only the newest {MOST_SENT} bytes"
            raise Refused("the log is too long", status=413, path="body", hint=hint)
        self.pace.require(town_id, name, now=now)
        head = keys.head(town_id)
        if (yield Call(f"start_of {head}", partial(self.objects.start_of, head, 1))) is None:
            raise UnknownTown(f"there is no town {town_id}", hint="create it first")
        kept = yield from StoredLogs(self.objects).keep(town_id, name, body.decode(errors="replace"), at=now)
        return KeptLogReport(name.agent_id, name.generation, name.kind, len(kept.text.encode()), kept.cut)


def _name(agent_id: str, asked: LogQuery, holder: Holder) -> LogName:
    """The log that the holder of a token may report. Raises Refused (403, 422)."""
    sender = holder.sender
    if sender.scope == "operator":
        raise _forbidden("a token of scope operator reports no logs")
    if sender.agent is not None and sender.agent != agent_id:
        raise _forbidden("an agent's token reports only that agent's log")
    if not is_subject_id(agent_id):
        hint = "give the id that the town shows: 1 to 64 characters without control characters"
        raise Refused("the agent's id is not one that an agent can have", status=422, path="agentId", hint=hint)
    if sender.generation is not None and asked.generation not in (None, sender.generation):
        raise _forbidden("a token reports only the log of its own generation")
    generation = sender.generation if asked.generation is None else asked.generation
    if generation is None:
        hint = "add ?generation=N with the number of the agent's start"
        raise Refused("the generation is required", status=422, path="generation", hint=hint)
    return LogName(agent_id, generation, asked.kind, "container" if sender.scope == "container" else "agent")


def _forbidden(why: str) -> Refused:
    return Refused(
        why, status=403, path="agentId", hint="use the token of this generation of the agent, or its container's"
    )
