"""The events API on loopback, as far as an agent sees it: a town token is wanted, `ingest` judges, the inbox keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request, json_answer
from shared.adapters import ids
from shared.domain.errors import Refused, TownError
from shared.domain.senders import Sender
from shared.intake import ingest
from shared.ports.clock import Clock
from shared.ports.object_store import ObjectStore
from shared.ports.steps import drive
from shared.storage.towns import ObjectTownStore


@dataclass
class EventsApi:
    """Where it is, which token it wants, what it refuses next."""

    objects: ObjectStore
    clock: Clock
    address: str = ""
    token: str = "the-town-token"
    fails: list[int] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    nonce: str | None = None
    sender: Sender | None = None
    """The holder of the token, as its claims say; None: nobody judges who speaks."""

    def answer(self, path: str, authorization: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.seen.append((path, authorization))
        if self.fails:
            return self.fails.pop(0), {"title": "as planned"}
        if authorization != f"Bearer {self.token}":
            return 401, {"title": "no token"}
        town_id = path.removeprefix("/api/towns/").removesuffix("/events")
        now = self.clock.now()
        try:
            batch = ingest.accept(body, received_at=now, sent_by=self.sender)
            store = ObjectTownStore(self.objects)
            wake = not batch.transient_only
            drive(store.post(town_id, batch.body, received_at=now, batch_id=ids.batch_id(), wake=wake))
        except Refused as refused:
            return refused.status, {"title": refused.message}
        except TownError as error:
            return 404, {"title": error.message}
        return 202, {} if self.nonce is None else {"drainNonce": self.nonce}


@contextmanager
def an_events_api(objects: ObjectStore, clock: Clock) -> Iterator[EventsApi]:
    """An API over these towns, while the block lasts."""
    api = EventsApi(objects, clock)

    class Front:
        def admit(self, head: Head) -> None: ...

        def answer(self, request: Request) -> Response:
            authorization = request.head.headers.get("authorization", "")
            return json_answer(*api.answer(request.head.target, authorization, request.body))

    with opened(Guard(Front())) as door:
        api.address = door.url
        yield api
