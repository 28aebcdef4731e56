"""How an agent's reports reach its town: the ordinary ingest path, by one of four ways that its environment names.

TOWN_API is the base URL of the events API; the token lies in the file TOWN_TOKEN_FILE (read anew for every report: it is
refreshed) or in TOWN_TOKEN. TOWN_AGENT_POST is a command (a JSON list of words) that receives a JSON array of events on
standard input; any agent in any language can use it, at the price of a process for each report. TOWN_AGENT_DATA (or
TOWNCTL_DATA) is a data directory, TOWNCTL_BUCKET a bucket: an agent in Python posts into them by the same code that the
command runs. Posting is repeated until it is answered; event ids are stable, so a report that arrives twice is one report.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from infra.buckets import BUCKET_VARIABLE, Bucket
from shared.domain.errors import Refused, TownError, UnknownTown
from shared.ports.clock import Clock
from shared.ports.object_store import ObjectStore

POST_VARIABLE: Final = "TOWN_AGENT_POST"
DATA_VARIABLE: Final = "TOWN_AGENT_DATA"
API_VARIABLE: Final = "TOWN_API"
TOKEN_VARIABLE: Final = "TOWN_TOKEN"  # noqa: S105 - a name
TOKEN_FILE_VARIABLE: Final = "TOWN_TOKEN_FILE"  # noqa: S105 - a name
_API_SECONDS: Final = 15.0
_TRIES: Final = 5
_COMMAND_SECONDS: Final = 30.0

Event = Mapping[str, Any]


class NotPosted(Exception):
    """The town did not take the events; whether it has them is not known. `final`: it will not take them later either."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Poster(Protocol):
    """A way to a town's inbox."""

    def post(self, events: Sequence[Event]) -> None:
        """Make the events durable in this order. Raises NotPosted."""
        ...


@dataclass(frozen=True, slots=True)
class CommandPoster:
    """Hands events to a command, such as `townctl event post --data DIR TOWN --file -`."""

    command: tuple[str, ...]

    def post(self, events: Sequence[Event]) -> None:
        """Run the command once. Raises NotPosted with what it said."""
        try:
            done = subprocess.run(
                self.command,
                check=False,
                input=json.dumps(list(events), ensure_ascii=False).encode(),
                capture_output=True,
                timeout=_COMMAND_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotPosted(f"{self.command[0]}: {error}; see {POST_VARIABLE}") from error
        if done.returncode != 0:
            raise NotPosted(
                f"{self.command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
            )


@dataclass(frozen=True, slots=True)
class StorePoster:
    """Posts into the towns of an object store, as `townctl event post` does, without a process of its own.

    `open_store` is called once, by the first report: an agent that reports through a command needs no store. `place`
    says for people where it is.
    """

    open_store: Callable[[], ObjectStore]
    place: str
    town_id: str
    clock: Clock

    def post(self, events: Sequence[Event]) -> None:
        """Judge the events and store them as one batch. Raises NotPosted with what is wrong and what to do."""
        from shared.intake import ingest
        from shared.ports.steps import drive
        from shared.storage.towns import ObjectTownStore

        now = self.clock.now()
        try:
            batch = ingest.accept(json.dumps(list(events), ensure_ascii=False).encode(), received_at=now)
            store = ObjectTownStore(self.open_store())
            batch_id = hashlib.sha256(batch.body).hexdigest()[:32]
            wake = not batch.transient_only
            drive(store.post(self.town_id, batch.body, received_at=now, batch_id=batch_id, wake=wake))
        except TownError as error:
            place = f"{error.path}: " if isinstance(error, Refused) and error.path else ""
            final = isinstance(error, Refused | UnknownTown)
            raise NotPosted(f"{place}{error.message}; {error.hint or f'see {self.place}'}", final=final) from error


@dataclass(frozen=True, slots=True)
class ApiPoster:
    """Sends events to the events API of a deployment with a town token."""

    api: str
    town_id: str
    token: Callable[[], str]

    def post(self, events: Sequence[Event]) -> None:
        """One request. Raises NotPosted; what the API refuses for good is final."""
        self.send(events)

    def send(self, events: Sequence[Event]) -> Mapping[str, Any]:
        """As `post`; what the API answered (for a heartbeat while the town drains: `drain_nonce`)."""
        from shared.adapters.http_json import Answered, call

        url = f"{self.api.rstrip('/')}/api/towns/{quote(self.town_id, safe='')}/events"
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = call("POST", url, body={"events": list(events)}, headers=headers, seconds=_API_SECONDS)
        if not isinstance(answer, Answered):
            raise NotPosted(f"{API_VARIABLE}: {answer.reason}")
        if not answer.ok:
            raise NotPosted(f"{API_VARIABLE}: {answer.said}", final=not answer.may_pass and answer.status != 401)
        return answer.body


def patiently(post: Callable[[], None], *, clock: Clock) -> None:
    """Try a few times, a little of the clock's time apart. Raises the last NotPosted."""
    for attempt in range(1, _TRIES + 1):
        try:
            return post()
        except NotPosted as error:
            if attempt == _TRIES or error.final:
                raise
            clock.sleep(2.0**attempt)
    return None


def poster_from(environment: Mapping[str, str], *, town_id: str, clock: Clock) -> Poster:
    """The way to the town that the environment names. Raises ValueError if it names none."""
    if environment.get(API_VARIABLE):
        return ApiPoster(environment[API_VARIABLE], town_id, partial(_token, dict(environment)))
    bucket = Bucket.from_environment(environment)
    if bucket is not None:
        return StorePoster(cache(bucket.objects), str(bucket), town_id, clock)
    place = environment.get(DATA_VARIABLE) or environment.get("TOWNCTL_DATA")
    if place:
        data = Path(place)
        return StorePoster(cache(partial(_directory, data)), str(data), town_id, clock)
    if environment.get(POST_VARIABLE):
        words = json.loads(environment[POST_VARIABLE])
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            return CommandPoster(tuple(words))
        raise ValueError(f'{POST_VARIABLE} must be a JSON list of words, such as ["townctl", "event", "post", ...]')
    raise ValueError(
        f"an agent needs {API_VARIABLE} (a URL), {POST_VARIABLE} (a command), {DATA_VARIABLE} (a directory) or"
        f" {BUCKET_VARIABLE} to report to its town"
    )


def _directory(data: Path) -> ObjectStore:
    from shared.adapters.directory_objects import DirectoryObjects

    return DirectoryObjects(data)


def _token(environment: Mapping[str, str]) -> str:
    """The present token. Raises NotPosted if there is none."""
    file = environment.get(TOKEN_FILE_VARIABLE)
    try:
        token = Path(file).read_text(encoding="utf-8").strip() if file else ""
    except OSError:
        token = ""
    token = token or environment.get(TOKEN_VARIABLE, "")
    if not token:
        raise NotPosted(f"no token: {TOKEN_FILE_VARIABLE} names a file that holds one, or {TOKEN_VARIABLE} is one")
    return token
