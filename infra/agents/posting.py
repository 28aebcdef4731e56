"""Posts an agent's events to its town through ordinary ingestion, in the first of these ways that its environment names:

    TOWN_API                           base URL of the events API; the token is in the file TOWN_TOKEN_FILE, which is read for
                                       every report because it is refreshed, or in TOWN_TOKEN
    TOWNCTL_BUCKET                     a bucket, into which this process posts
    TOWN_AGENT_DATA or TOWNCTL_DATA    a data directory, into which this process posts
    TOWN_AGENT_POST                    a command (a JSON list of words) that reads a JSON array of events from standard input;
                                       it costs one process per report

Posting is idempotent, because event ids are stable: a report that is retried and arrives twice counts once.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from infra.buckets import BUCKET_VARIABLE, Bucket
from shared.adapters import outside_files
from shared.domain import strict_json
from shared.domain.errors import Refused, TownError, UnknownTown
from shared.ports.clock import Clock
from shared.ports.object_store import ObjectStore

if TYPE_CHECKING:
    from shared.adapters.directory_objects import DirectoryObjects

POST_VARIABLE: Final = "TOWN_AGENT_POST"
DATA_VARIABLE: Final = "TOWN_AGENT_DATA"
API_VARIABLE: Final = "TOWN_API"
TOKEN_VARIABLE: Final = "TOWN_TOKEN"  # noqa: S105 - a name
TOKEN_FILE_VARIABLE: Final = "TOWN_TOKEN_FILE"  # noqa: S105 - a name
_API_SECONDS: Final = 15.0
TRIES: Final = 5
_COMMAND_SECONDS: Final = 30.0

PostedEvent = Mapping[str, Any]


class Refusal(Exception):
    """A town did not do what it was asked. If `final`, a retry would fail again."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class NotPosted(Refusal):
    """The events were not acknowledged; the town may still have received them."""


class Poster(Protocol):
    """Posts events to a town's inbox."""

    def post(self, events: Sequence[PostedEvent]) -> None:
        """Post the events in this order and return when they are stored. Raises NotPosted."""
        ...


@dataclass(frozen=True, slots=True)
class CommandPoster:
    """Passes events to a command, such as `townctl event post --data DIR TOWN --file -`."""

    command: tuple[str, ...]

    def post(self, events: Sequence[PostedEvent]) -> None:
        """Run the command once. Raises NotPosted with its error output."""
        try:
            done = subprocess.run(
                self.command,
                check=False,
                input=json.dumps(list(events), ensure_ascii=False).encode(),
                capture_output=True,
                timeout=_COMMAND_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotPosted(f"posting events with {self.command[0]}: {error}; check {POST_VARIABLE}") from error
        if done.returncode != 0:
            raise NotPosted(
                f"{self.command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
            )


@dataclass(frozen=True, slots=True)
class StorePoster:
    """Posts into an object store, as `townctl event post` does, but in this process.

    `open_store` is called at the first report, because an agent that never reports needs no store. `place` is the store's
    location, for error messages.
    """

    open_store: Callable[[], ObjectStore]
    place: str
    town_id: str
    clock: Clock

    def post(self, events: Sequence[PostedEvent]) -> None:
        """Validate the events and store them as one batch. Raises NotPosted with the problem and a hint."""
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
            raise NotPosted(f"{place}{error.message}; {error.hint or f'check {self.place}'}", final=final) from error


@dataclass(frozen=True, slots=True)
class ApiPoster:
    """Posts events to the events API with a town token."""

    api: str
    town_id: str
    token: Callable[[], str]

    def post(self, events: Sequence[PostedEvent]) -> None:
        """Send one request. Raises NotPosted; it is final if the API would refuse the same request again."""
        self.send(events)

    def send(self, events: Sequence[PostedEvent]) -> Mapping[str, Any]:
        """As `post`, but return the API's answer. While the town drains, the answer to a heartbeat contains `drainNonce`."""
        from shared.adapters.http_json import Answered, call

        url = f"{self.api.rstrip('/')}/api/towns/{quote(self.town_id, safe='')}/events"
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = call("POST", url, body={"events": list(events)}, headers=headers, seconds=_API_SECONDS)
        if not isinstance(answer, Answered):
            raise NotPosted(f"posting to {API_VARIABLE}: {answer.reason}")
        if not answer.ok:
            refused_for_good = not answer.may_pass and answer.status != 401  # a refreshed token may be accepted
            raise NotPosted(f"posting to {API_VARIABLE}: {answer.said}", final=refused_for_good)
        return answer.body


def patiently(post: Callable[[], None], *, clock: Clock, tries: int = TRIES) -> None:
    """Call `post` up to five times, or `tries`, with growing delays on this clock. Raises the last NotPosted."""
    for attempt in range(1, tries + 1):
        try:
            return post()
        except NotPosted as error:
            if attempt == tries or error.final:
                raise
            clock.sleep(2.0**attempt)
    return None


def poster_from(environment: Mapping[str, str], *, town_id: str, clock: Clock) -> Poster:
    """The poster that the environment selects. Raises ValueError if it selects none."""
    if environment.get(API_VARIABLE):
        return ApiPoster(environment[API_VARIABLE], town_id, partial(token_of, dict(environment)))
    bucket = Bucket.from_environment(environment)
    if bucket is not None:
        return StorePoster(cache(bucket.objects), str(bucket), town_id, clock)
    place = environment.get(DATA_VARIABLE) or environment.get("TOWNCTL_DATA")
    if place:
        data = Path(place)
        return StorePoster(cache(partial(directory, data)), str(data), town_id, clock)
    if environment.get(POST_VARIABLE):
        words = strict_json.foreign(environment[POST_VARIABLE], limit=outside_files.LARGEST)
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            return CommandPoster(tuple(words))
        raise ValueError(f'{POST_VARIABLE} must be a JSON list of words, such as ["townctl", "event", "post", ...]')
    raise ValueError(
        f"cannot report to town {town_id}: set {API_VARIABLE} (a URL), {POST_VARIABLE} (a command), {DATA_VARIABLE} (a"
        f" directory) or {BUCKET_VARIABLE} (a bucket)"
    )


def directory(data: Path) -> "DirectoryObjects":
    """The object store in a data directory."""
    from shared.adapters.directory_objects import DirectoryObjects

    return DirectoryObjects(data)


def token_of(environment: Mapping[str, str]) -> str:
    """The current town token of an agent or a container. Raises NotPosted if there is none."""
    file = environment.get(TOKEN_FILE_VARIABLE)
    try:
        token = Path(file).read_text(encoding="utf-8").strip() if file else ""
    except OSError:
        token = ""
    token = token or environment.get(TOKEN_VARIABLE, "")
    if not token:
        raise NotPosted(
            f"no town token yet; it is in the file that {TOKEN_FILE_VARIABLE} names, or in {TOKEN_VARIABLE}"
        )
    return token
