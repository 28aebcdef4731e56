"""The messages of a town, newest first, and among them what people and the mayor have said to each other."""

import sqlite3
from collections.abc import Collection
from typing import Final

from shared.domain import strict_json
from shared.domain.mail import subject_of
from shared.domain.notes import MailNotes
from shared.domain.shapes import Time, answer
from shared.domain.states import AgentStatus, BeadStatus
from shared.intake.people import name_of
from shared.ports.steps import Steps
from shared.ports.town_store import TownImage, TownStore
from shared.questions.bead_list import Place, Read, page, place_in, whole_page
from shared.questions.filters import LIMIT, BeadFilter
from shared.questions.mailbox import MAYOR
from shared.questions.totals import total_of
from shared.town import database, migrations

PEOPLE: Final = "people"
_MORE: Final = "SELECT created_by, metadata FROM beads WHERE bead_id = :id"
_PROBLEM: Final = (
    "SELECT IIF(json_type(o.result, '$.error') = 'object', (o.result ->> '$.error.kind') || ': ' || "
    "(o.result ->> '$.error.message'), o.result ->> '$.error') FROM outbox o "
    "WHERE o.kind = 'notify_mayor' AND o.subject = :subject AND o.state <> 'done' AND json_valid(o.result) "
    "ORDER BY o.seq DESC LIMIT 1"
)
"""Why the newest try to deliver a message to the mayor failed, also while it is tried again."""
_MAYORS: Final = "SELECT bead_id, status FROM agent_metadata WHERE role = 'mayor' ORDER BY bead_id"


@answer
class Letter:
    """A message. `from` and `to` are agents, `mayor`, the names of people, or `people`; `from` is null if the town wrote it itself.

    `delivered` is false until its delivery is confirmed; `problem` says why the last try to deliver it to the mayor failed.
    """

    bead_id: str
    from_: str | None
    to: str
    title: str
    text: str | None
    at: Time | None
    delivered: bool
    told: int
    problem: str | None
    in_reply_to: str | None


@answer
class LetterList:
    """A page of messages, newest first. `next` is the `cursor` of the next page, null on the last one.

    `total` as in a list of beads.
    """

    town_id: str
    messages: tuple[Letter, ...]
    next: str | None
    total: int | None = None


@answer
class Conversation:
    """A page of what was written to the mayor and of what it has said, newest first.

    `mayor` is the status of the mayor, null if the town has none: then messages wait until it has one.
    """

    town_id: str
    mayor: AgentStatus | None
    messages: tuple[Letter, ...]
    next: str | None


def mail(town_id: str, store: TownStore, *, limit: int = LIMIT, cursor: str | None = None) -> Steps[LetterList]:
    """A page of the messages of a town. Raises Refused (422) for a wrong cursor, UnknownTown."""
    place = place_in(cursor)
    image = yield from store.load(town_id)
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        mayors, wanted = _mayors(sql), BeadFilter(type="message")
        found, following, total = yield from whole_page(
            sql, store, town_id, wanted, limit=limit, place=place, with_bodies=True
        )
        letters = tuple(_letter(sql, read, mayors) for read in found)
        return LetterList(town_id, letters, following, total)


def mail_in(image: TownImage, *, limit: int, place: Place, among: Collection[str] | None = None) -> LetterList:
    """The same for an image. `among` are the only messages that are listed; None: all."""
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        mayors = _mayors(sql)
        wanted = BeadFilter(type="message")
        found, following = page(sql, wanted, limit=limit, place=place, among=among, with_bodies=True)
        letters = tuple(_letter(sql, read, mayors) for read in found)
        return LetterList(image.town_id, letters, following, total_of(sql, wanted) if among is None else None)


def conversation(
    town_id: str, store: TownStore, *, limit: int = LIMIT, cursor: str | None = None
) -> Steps[Conversation]:
    """A page of the conversation with the mayor. It may have fewer messages than the limit, even none, although it is not the last.

    Raises Refused (422) for a wrong cursor, UnknownTown.
    """
    place = place_in(cursor)
    image = yield from store.load(town_id)
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        mayors = _mayors(sql)
        found, following, _ = yield from whole_page(
            sql, store, town_id, BeadFilter(type="message"), limit=limit, place=place, with_bodies=True
        )
        letters = tuple(_letter(sql, read, mayors) for read in found)
    said = tuple(each for each in letters if each.to == MAYOR or (each.from_ == MAYOR and each.to == PEOPLE))
    return Conversation(town_id, next(iter(mayors.values()), None), said, following)


def _mayors(sql: sqlite3.Connection) -> dict[str, AgentStatus]:
    return {bead_id: AgentStatus(status) for bead_id, status in sql.execute(_MAYORS)}


def _letter(sql: sqlite3.Connection, read: Read, mayors: Collection[str]) -> Letter:
    bead = read.bead
    created_by, metadata = sql.execute(_MORE, {"id": bead.bead_id}).fetchone()
    notes = strict_json.stored(metadata)
    by_mayor = created_by in mayors
    addressee = bead.assignee_agent_bead_id
    to = PEOPLE if by_mayor and addressee is None else MAYOR if addressee is None or addressee in mayors else addressee
    delivered = bead.status != BeadStatus.OPEN
    problem = None if delivered else sql.execute(_PROBLEM, {"subject": subject_of(bead.bead_id)}).fetchone()
    return Letter(
        bead_id=bead.bead_id,
        from_=MAYOR if by_mayor else None if created_by is None else name_of(created_by),
        to=to,
        title=bead.title,
        text=read.body,
        at=bead.created_at,
        delivered=delivered,
        told=MailNotes.told.of(notes),
        problem=None if problem is None else problem[0],
        in_reply_to=MailNotes.in_reply_to.of(notes),
    )
