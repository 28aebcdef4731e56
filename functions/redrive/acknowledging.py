"""The links in notices: a person looks at an escalation and acknowledges it. The link is the only credential.

Programs follow the links in mail, to look for viruses or to show a preview. So GET only shows a page, and its button posts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from functions import problems
from functions.api import Call, Reply
from functions.ingestion import Ingestion
from functions.pace import Pace
from functions.queries import Query
from functions.redrive.link_page import page
from shared.adapters import escalation_links
from shared.adapters.escalation_links import ReadLink
from shared.domain.errors import Refused, Retryable, UnknownTown
from shared.domain.notices import SENT_BY
from shared.domain.secret_texts import masked
from shared.domain.senders import Sender
from shared.intake import ingest
from shared.ports.steps import drive

MOST_OPENED: Final = 30
_PACE_HINT: Final = "wait some minutes, then open it again"
_NOTHING_LEFT: Final = "There is nothing to acknowledge any more."
_WORDS: Final[Mapping[int, tuple[str, str]]] = {
    401: (
        "This link is not valid",
        "Open it exactly as it stands in the notice. A very old link is not valid any more.",
    ),
    404: ("This escalation is gone", _NOTHING_LEFT),
    410: ("This link has expired", "Look at the newest notice, or call `townctl escalation acknowledge`."),
    429: ("This link was opened too often", "Wait some minutes, then open it again."),
    503: ("This cannot be done now", "Nothing is changed. Try again in a minute."),
}
"""Title and words by the status of a refusal. They are the same for every link, so nobody learns from them how to make one."""

Keys = Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Links:
    """What opens links: the keys, and the keys as they are now, which are read only if the known ones do not fit."""

    keys: Keys
    newest_keys: Keys
    pace: Pace = field(default_factory=lambda: Pace(MOST_OPENED, _PACE_HINT, "link"))

    def opened(self, text: str, now: datetime) -> ReadLink:
        """What a link says. Raises Refused (401, 410, 429), TownError if no key can be read."""
        try:
            read = escalation_links.opened(text, self.keys(), now=now)
        except Refused as refusal:
            if refusal.status != 401:
                raise
            read = escalation_links.opened(text, self.newest_keys(), now=now)
        self.pace.require(read.link.town_id, read.link.bead_id, now=now)
        return read


@dataclass(frozen=True, slots=True)
class _Seen:
    """An escalation as the town's last commit has it."""

    title: str
    severity: str
    acknowledged: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class _Visit:
    """A person with a valid link, who looks at an escalation that is not acknowledged yet."""

    call: Call[Query]
    read: ReadLink
    seen: _Seen
    way_in: Ingestion
    now: datetime


def shown(call: Call[Query], links: Links, way_in: Ingestion) -> Reply:
    """The page that a link opens."""
    return _answered(call, links, way_in, _page_of)


def acknowledged(call: Call[Query], links: Links, way_in: Ingestion) -> Reply:
    """The page after its button was used."""
    return _answered(call, links, way_in, _taken)


def _answered(call: Call[Query], links: Links, way_in: Ingestion, answer: Callable[[_Visit], Reply]) -> Reply:
    """A page in any case that a person can be in. A bug is answered as in every route."""
    try:
        now = drive(way_in.around.time())
        read = links.opened(call.ids["link"], now)
        call.trail.more = {"town_id": read.link.town_id, "key": read.key, "link": read.name}
        seen = _seen(read, way_in)
        if seen.closed:
            return page(410, "This escalation is closed", seen.title, _NOTHING_LEFT)
        if seen.acknowledged:
            return page(200, "It is acknowledged already", seen.title, "It is not raised again.")
        return answer(_Visit(call, read, seen, way_in, now))
    except UnknownTown:
        return page(410, *_WORDS[404])
    except Refused as refusal:
        words = _WORDS.get(refusal.status, ("This cannot be done", refusal.message))
        return page(410 if refusal.status == 404 else refusal.status, *words)
    except Retryable as error:
        return page(int(problems.of_error(error)["statusCode"]), *_WORDS[503])


def _page_of(visit: _Visit) -> Reply:
    about = f"An escalation of the town {visit.read.link.town_id}, of severity {visit.seen.severity}."
    rest = "Once you acknowledge it, it is not raised again. It stays open until somebody closes it."
    return page(200, visit.seen.title, about, rest, button=True)


def _taken(visit: _Visit) -> Reply:
    read, way_in, trail = visit.read, visit.way_in, visit.call.trail
    said: dict[str, Any] = {
        "event_id": f"acknowledged-{read.name}",
        "event_type": "escalation_acknowledged",
        "bead_id": read.link.bead_id,
        "payload": {"by": SENT_BY[read.link.channel]},
    }
    request = str((visit.call.event.get("requestContext") or {}).get("requestId", ""))[:128]
    sender = Sender("operator", key=read.key, token=f"link-{read.name}", request=request)
    window = way_in.around.restore_window
    batch = ingest.batch_of([said], received_at=visit.now, sent_by=sender, restore_window=window)
    drive(way_in.store(read.link.town_id, batch, now=visit.now, trail=trail))
    return page(202, "Acknowledged", visit.seen.title, "The town notes it within seconds, and does not raise it again.")


def _seen(read: ReadLink, way_in: Ingestion) -> _Seen:
    """The escalation of a link. Raises UnknownTown, Refused (404) if it is gone, Retryable."""
    from shared.questions import bead_view  # noqa: PLC0415 - few requests open a link

    link = read.link
    bead = drive(bead_view.bead(link.town_id, link.bead_id, way_in.around.store)).bead
    if bead.escalation is None:
        raise Refused("its bead is not an escalation", status=404, path="link", hint="look at the newest notice")
    title = " ".join(masked(bead.title).split()) or "An escalation"
    return _Seen(title, bead.escalation.severity, bead.escalation.acknowledged, bead.closed_at is not None)
