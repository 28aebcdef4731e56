"""Logs of agents as objects: one for each generation, kind and writer, which each later report replaces.

Nobody else than the writer of a log writes its object, so it is stored without a condition. An agent may have written what its
own token stored, so what its container stored counts more.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from shared.domain import strict_json
from shared.domain.errors import DamagedImage
from shared.domain.times import from_text, to_text
from shared.ports.agent_logs import KeptLog, LogName, LogWriter
from shared.ports.logged_texts import newest_part
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Call, Steps
from shared.storage import keys
from shared.storage.listing import all_keys

_TRUST: Final[Sequence[LogWriter]] = ("machine", "container", "agent")


@dataclass(frozen=True, slots=True)
class StoredLogs:
    """The logs in a bucket or a directory. Implements `AgentLogs`."""

    objects: ObjectStore

    def kept(self, town_id: str, agent_id: str) -> Steps[tuple[LogName, ...]]:
        """The logs of an agent that are kept, newest generation first."""
        found = yield from all_keys(self.objects, keys.logs_of(town_id, agent_id))
        names = (named for key in found if (named := keys.named_log(key, agent_id)) is not None)
        return tuple(sorted(names, key=lambda name: (-name.generation, name.kind, _TRUST.index(name.by))))

    def read(self, town_id: str, name: LogName) -> Steps[KeptLog | None]:
        """A log; None if it is not kept. Raises TownError if it is damaged."""
        key = keys.log(town_id, name)
        found = yield Call(f"get {key}", partial(self.objects.get, key))
        if found is None:
            return None
        return read_log(found.body, key)

    def keep(self, town_id: str, name: LogName, text: str, *, at: datetime) -> Steps[KeptLog]:
        """Store the newest part of a log without its secrets, in place of an earlier report."""
        shown, cut = newest_part(text)
        key = keys.log(town_id, name)
        body = json.dumps({"at": to_text(at), "cut": cut, "text": shown}, ensure_ascii=False).encode()
        yield Call(f"put {key}", partial(self.objects.put, key, body))
        return KeptLog(at, shown, cut)


def read_log(body: bytes, key: str) -> KeptLog:
    """The log in an object. Raises DamagedImage, which names the key."""
    try:
        stored = strict_json.stored(body.decode())
        return KeptLog(from_text(stored["at"]), stored["text"], stored["cut"])
    except (ValueError, TypeError, KeyError) as error:
        hint = "only this log is lost; delete the object, or wait until it is too old to be kept"
        raise DamagedImage(f"{key} is damaged: it is no log of an agent", hint=hint) from error
