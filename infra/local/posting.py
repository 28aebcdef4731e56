"""How an agent's reports reach its town: the ordinary ingest path, by one of three ways that its environment names.

TOWN_AGENT_POST is a command (a JSON list of words) that receives a JSON array of events on standard input; any agent
in any language can use it, at the price of a process for each report. TOWN_AGENT_DATA is a data directory,
TOWNCTL_BUCKET a bucket: an agent in Python posts into them by the same code that the command runs. Posting is repeated
until it is answered; event ids are stable, so a report that arrives twice is one report.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Protocol

from infra.local.buckets import BUCKET_VARIABLE, Bucket
from shared.domain.errors import Refused, TownError
from shared.domain.ports import Clock, ObjectStore

POST_VARIABLE: Final = "TOWN_AGENT_POST"
DATA_VARIABLE: Final = "TOWN_AGENT_DATA"
_TRIES: Final = 5
_COMMAND_SECONDS: Final = 30.0

Event = Mapping[str, Any]


class NotPosted(Exception):
    """The town did not take the events; whether it has them is not known."""


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
        from shared.domain.steps import drive
        from shared.events import ingest
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
            raise NotPosted(f"{place}{error.message}; {error.hint or f'see {self.place}'}") from error


def patiently(post: Callable[[], None], *, clock: Clock) -> None:
    """Try a few times, a little of the clock's time apart. Raises the last NotPosted."""
    for attempt in range(1, _TRIES + 1):
        try:
            return post()
        except NotPosted:
            if attempt == _TRIES:
                raise
            clock.sleep(2.0**attempt)
    return None


def poster_from(environment: Mapping[str, str], *, town_id: str, clock: Clock) -> Poster:
    """The way to the town that the environment names. Raises ValueError if it names none."""
    bucket = Bucket.from_environment(environment)
    if bucket is not None:
        return StorePoster(cache(bucket.objects), str(bucket), town_id, clock)
    if environment.get(DATA_VARIABLE):
        data = Path(environment[DATA_VARIABLE])
        return StorePoster(cache(partial(_directory, data)), str(data), town_id, clock)
    if environment.get(POST_VARIABLE):
        words = json.loads(environment[POST_VARIABLE])
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            return CommandPoster(tuple(words))
        raise ValueError(f'{POST_VARIABLE} must be a JSON list of words, such as ["townctl", "event", "post", ...]')
    raise ValueError(
        f"an agent needs {POST_VARIABLE} (a command), {DATA_VARIABLE} (a directory) or {BUCKET_VARIABLE} to report to its town"
    )


def _directory(data: Path) -> ObjectStore:
    from shared.adapters.directory_objects import DirectoryObjects

    return DirectoryObjects(data)
