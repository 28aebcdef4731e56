"""Where the logs of a container's agents are kept, in the first of these ways that its environment names: the town's API, a
bucket, a data directory. A town that is reached by a command (`TOWN_AGENT_POST`) keeps no logs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from infra.agents.posting import API_VARIABLE, DATA_VARIABLE, NotPosted, directory, token_of
from infra.buckets import Bucket
from shared.domain.errors import TownError
from shared.ports.agent_logs import LogName
from shared.ports.clock import Clock
from shared.ports.logged_texts import newest_part
from shared.ports.object_store import ObjectStore

_SECONDS: Final = 20.0


class LogKeeper(Protocol):
    """Keeps logs of agents of one town."""

    def keep(self, name: LogName, text: str) -> None:
        """Keep the newest part of a log in place of what was kept of it before. Raises NotPosted."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKeeper:
    """Reports logs to the events API with a town token. Secrets are masked here too, before anything leaves the machine."""

    api: str
    town_id: str
    token: Callable[[], str]

    def keep(self, name: LogName, text: str) -> None:
        """Send one request. Raises NotPosted."""
        from shared.adapters.http_json import Answered, call
        from shared.adapters.path_ids import written

        path = f"{quote(self.town_id, safe='')}/agents/{written(name.agent_id)}/log"
        url = f"{self.api.rstrip('/')}/api/towns/{path}?generation={name.generation}&kind={name.kind}"
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = call("PUT", url, text=newest_part(text)[0].encode(), headers=headers, seconds=_SECONDS)
        if not isinstance(answer, Answered):
            raise NotPosted(f"reporting a log to {API_VARIABLE}: {answer.reason}")
        if not answer.ok:
            raise NotPosted(f"reporting a log to {API_VARIABLE}: {answer.said}", final=not answer.may_pass)


@dataclass(frozen=True, slots=True)
class StoreKeeper:
    """Stores logs beside the town, in a bucket or a directory that this process may write."""

    open_objects: Callable[[], ObjectStore]
    town_id: str
    clock: Clock

    def keep(self, name: LogName, text: str) -> None:
        """Store one object. Raises NotPosted."""
        from shared.ports.steps import drive
        from shared.storage.agent_logs import StoredLogs

        try:
            drive(StoredLogs(self.open_objects()).keep(self.town_id, name, text, at=self.clock.now()))
        except TownError as error:
            raise NotPosted(f"storing a log: {error.message}") from error


def keeper_from(environment: Mapping[str, str], *, town_id: str, clock: Clock) -> LogKeeper | None:
    """The keeper that an environment names; None if it names none."""
    if environment.get(API_VARIABLE):
        return ApiKeeper(environment[API_VARIABLE], town_id, partial(token_of, dict(environment)))
    bucket = Bucket.from_environment(environment)
    if bucket is not None:
        return StoreKeeper(cache(bucket.objects), town_id, clock)
    place = environment.get(DATA_VARIABLE) or environment.get("TOWNCTL_DATA")
    return StoreKeeper(cache(partial(directory, Path(place))), town_id, clock) if place else None
