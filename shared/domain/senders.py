"""Who sent an event, as the token of its request says, and the ids under which events of agents and containers are stored.

An agent chooses the ids of its events, and most of them can be foreseen by others. So each agent, and the town's container, has
ids of its own: `done-7` of agent toast is stored as `done-7@toast`, `ready-7` of a container as `ready-7~container`. A producer
cannot send an id with `@` or `~`, so no sender can take an id of another one. All generations of an agent share its ids, because
the next generation may repeat a report that nobody has acknowledged. If it sends something else under an id that an earlier
generation has used, its event is stored as `done-7~5@toast`: so no generation can use up the ids of the next one. Events of people
and of the town keep their ids unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from shared.domain import canonical, strict_json
from shared.domain.states import SCOPES, Scope

_CONTAINER: Final = "~container"


@dataclass(frozen=True, slots=True)
class Sender:
    """The holder of the token of a request. `key` names the key that signed the token, `token` the token, `request` the request.

    An agent's token names the agent and the generation that it was made for.
    """

    scope: Scope
    agent: str | None = None
    generation: int | None = None
    key: str | None = None
    token: str | None = None
    request: str | None = None

    @property
    def account(self) -> str:
        """The name under which the town counts what this sender sends: the scope, or the agent and generation of its token.

        Each generation has a budget of its own, so a stolen token of an older one uses up nothing of the present one.
        """
        name = self.scope if self.agent is None else f"@{self.agent}"
        return name if self.generation is None else f"{name}:{self.generation}"

    @property
    def words(self) -> str:
        """The sender for people, as in `agent toast, generation 5`."""
        agent = "" if self.agent is None else f" {self.agent}"
        generation = "" if self.generation is None else f", generation {self.generation}"
        return f"{self.scope}{agent}{generation}"

    def as_json(self) -> dict[str, Any]:
        """The sender as inbox objects, images and the journal store it, without what is unknown."""
        named = {
            "scope": self.scope,
            "agent": self.agent,
            "generation": self.generation,
            "key": self.key,
            "token": self.token,
            "request": self.request,
        }
        return {name: value for name, value in named.items() if value is not None}

    @classmethod
    def from_json(cls, stored: object) -> "Sender":
        """The sender that `as_json` wrote. Raises ValueError for anything else."""
        if not isinstance(stored, Mapping) or stored.get("scope") not in SCOPES or not set(stored) <= _FIELDS:
            raise ValueError("not a sender: an object with scope, agent, generation, key, token and request")
        texts = all(isinstance(value, str) for name, value in stored.items() if name != "generation")
        if not texts or type(stored.get("generation")) not in (int, type(None)):
            raise ValueError("not a sender: generation is a number, everything else is text")
        return cls(**stored)


@lru_cache(maxsize=128)  # the events of one request have equal senders
def text_of(sender: Sender) -> str:
    """The sender as a row stores it."""
    return canonical.dumps(sender.as_json())


@lru_cache(maxsize=128)
def from_row(stored: str) -> Sender:
    """The sender in a row. Raises ValueError if it is damaged."""
    return Sender.from_json(strict_json.stored(stored))


def sender_in(stored: str | None) -> Sender | None:
    """The sender in a row, for lists; None if there is none, or if it is damaged."""
    try:
        return None if stored is None else from_row(stored)
    except ValueError:
        return None


_FIELDS: Final = frozenset({"scope", "agent", "generation", "key", "token", "request"})


def stored_id(event_id: str, sender: Sender | None) -> str:
    """The id under which an event of this sender is stored."""
    if sender is None or sender.scope == "operator":
        return event_id
    return f"{event_id}{_CONTAINER}" if sender.agent is None else f"{event_id}@{sender.agent}"


def stored_id_of_generation(event_id: str, sender: Sender) -> str:
    """The id of an event whose `stored_id` has another event, which another generation of its agent sent."""
    return f"{sent_id(event_id)}~{sender.generation}@{sender.agent}"


def stored_ids(event_id: str, sender: Sender | None) -> tuple[str, ...]:
    """The ids under which the town may have an event with this `stored_id`."""
    if sender is None or sender.agent is None or sender.generation is None:
        return (event_id,)
    return (event_id, stored_id_of_generation(event_id, sender))


def sent_id(event_id: str) -> str:
    """The id that the sender of a stored event chose."""
    return event_id.partition("@")[0].partition("~")[0]
