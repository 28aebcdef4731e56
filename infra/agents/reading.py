"""Asks a town for an agent, in the first of these ways that its environment names:

    TOWN_API                           base URL of the API: a GET with the agent's town token, as in `infra.agents.posting`
    TOWNCTL_BUCKET                     a bucket, which this process reads
    TOWN_AGENT_DATA or TOWNCTL_DATA    a data directory, which this process reads

A command (TOWN_AGENT_POST) only takes reports. The town cuts each answer to what the agent may see, whichever way it is asked.
Where the agent reads the store itself, this keeps honest agents in order, and is no wall.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode

from infra.agents.posting import API_VARIABLE, DATA_VARIABLE, POST_VARIABLE, Refusal, directory, token_of
from infra.buckets import BUCKET_VARIABLE, Bucket
from shared.domain.errors import Refused, TownError, UnknownTown
from shared.ports.clock import Clock
from shared.ports.object_store import ObjectStore, VersionedObjects

if TYPE_CHECKING:
    from shared.domain.states import Scope
    from shared.questions.agent_view import Asked, Question

_API_SECONDS: Final = 20.0
_ROUTES: Final[dict["Question", str]] = {
    "status": "status",
    "beads": "beads",
    "bead": "beads/{}",
    "agents": "agents",
    "convoys": "convoys",
    "rigs": "rigs",
    "explain_bead": "explain/beads/{}",
    "explain_agent": "explain/agents/{}",
}

Answer = Mapping[str, Any]
"""The JSON document of an answer, the same whichever way the town was asked."""


class Objects(ObjectStore, VersionedObjects, Protocol):
    """A store with its past: an explanation reads it."""


class NotRead(Refusal):
    """The town did not answer. If `final`, it would not answer the same question again."""


class Reader(Protocol):
    """Asks a town questions in the name of one agent."""

    def ask(self, question: "Question", subject: str = "", /, **filters: str | int | None) -> Answer:
        """The answer to a question about a bead or agent, or to one with filters. Raises NotRead."""
        ...


@dataclass(frozen=True, slots=True)
class Asker:
    """The agent in whose name a town is asked."""

    town_id: str
    agent_id: str
    generation: int
    scope: "Scope"


@dataclass(frozen=True, slots=True)
class ApiReader:
    """Asks the API with a town token."""

    api: str
    town_id: str
    token: Callable[[], str]

    def ask(self, question: "Question", subject: str = "", /, **filters: str | int | None) -> Answer:
        """Send one request. Raises NotRead; it is final if the API would refuse the same request again."""
        from shared.adapters.http_json import Answered, call
        from shared.adapters.path_ids import written

        below = _ROUTES[question].format(written(subject) if subject else "")
        given = urlencode({name: value for name, value in filters.items() if value is not None})
        url = f"{self.api.rstrip('/')}/api/agents/towns/{quote(self.town_id, safe='')}/{below}{'?' if given else ''}{given}"
        answer = call("GET", url, headers={"Authorization": f"Bearer {self.token()}"}, seconds=_API_SECONDS)
        if not isinstance(answer, Answered):
            raise NotRead(f"asking town {self.town_id} at {API_VARIABLE}: {answer.reason}")
        if not answer.ok:
            hint = answer.body.get("hint")
            words = f"{answer.said}; {hint}" if isinstance(hint, str) else answer.said
            final = not answer.may_pass and answer.status != 401  # a refreshed token may be accepted
            raise NotRead(f"asking town {self.town_id} at {API_VARIABLE}: {words}", final=final)
        if not answer.is_json:
            raise NotRead(
                f"asking town {self.town_id} at {API_VARIABLE}: the answer is not JSON, or larger than 1 MiB; ask for less"
            )
        return answer.body


@dataclass(frozen=True, slots=True)
class StoreReader:
    """Reads an object store in this process, as the API does."""

    open_store: Callable[[], "Objects"]
    place: str
    asker: Asker
    clock: Clock

    def ask(self, question: "Question", subject: str = "", /, **filters: str | int | None) -> Answer:
        """Read the town's image and judge what the agent may see. Raises NotRead with the problem and a hint."""
        from shared.domain.senders import Sender
        from shared.domain.shapes import document
        from shared.history.retained_past import StoredPast
        from shared.ports.steps import drive
        from shared.questions import agent_view
        from shared.runner.surroundings import Surroundings
        from shared.storage.towns import ObjectTownStore

        who = self.asker
        try:
            objects = self.open_store()
            asked = _asked(question, subject, filters)
            around = Surroundings(ObjectTownStore(objects), self.clock)
            past = StoredPast(objects, objects)
            holder = Sender(who.scope, who.agent_id, who.generation)
            return document(drive(agent_view.seen_by(who.town_id, holder, asked, around, past)))
        except TownError as error:
            final = isinstance(error, Refused | UnknownTown)
            hint = error.hint or f"check {self.place}"
            raise NotRead(f"asking town {who.town_id} in {self.place}: {error.message}; {hint}", final=final) from error


def _asked(question: "Question", subject: str, filters: Mapping[str, str | int | None]) -> "Asked":
    """The question with its parameters. Raises Refused for a limit that no list has; the table of verbs knows the other values."""
    from shared.questions.agent_view import Asked
    from shared.questions.filters import LIMIT, LIMIT_AT_MOST, BeadFilter

    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    limit, cursor = given.pop("limit", LIMIT), given.pop("cursor", None)
    if not 1 <= limit <= LIMIT_AT_MOST:
        raise Refused(f"a limit of {limit}", status=400, path="limit", hint=f"give a --limit from 1 to {LIMIT_AT_MOST}")
    return Asked(question, subject, BeadFilter(**given), limit, cursor)


def reader_from(environment: Mapping[str, str], *, asker: Asker, clock: Clock) -> Reader:
    """The reader that the environment selects. Raises ValueError if it selects none."""
    if environment.get(API_VARIABLE):
        return ApiReader(environment[API_VARIABLE], asker.town_id, partial(token_of, dict(environment)))
    bucket = Bucket.from_environment(environment)
    if bucket is not None:
        return StoreReader(cache(bucket.objects), str(bucket), asker, clock)
    place = environment.get(DATA_VARIABLE) or environment.get("TOWNCTL_DATA")
    if place:
        return StoreReader(cache(partial(directory, Path(place))), place, asker, clock)
    only_posts = f"; {POST_VARIABLE} takes reports only" if environment.get(POST_VARIABLE) else ""
    raise ValueError(
        f"cannot ask town {asker.town_id}: set {API_VARIABLE} (a URL), {DATA_VARIABLE} (a directory) or {BUCKET_VARIABLE} (a"
        f" bucket){only_posts}"
    )
