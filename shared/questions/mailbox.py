"""The mail of a town: messages that their addressees have not read, and what the mayor said last."""

import sqlite3
from datetime import datetime
from typing import Final

from shared.domain import strict_json
from shared.domain.notes import MailNotes
from shared.domain.shapes import Time, answer
from shared.domain.times import readable_time, to_text
from shared.town.reading import TownReader

MAYOR: Final = "mayor"


@answer
class UnreadMail:
    """A message whose delivery is not confirmed. `to` is an agent, or `mayor`; `told` counts the requests to deliver it."""

    bead_id: str
    to: str
    created_by: str | None
    title: str
    since: Time | None
    told: int
    told_at: Time | None


@answer
class Saying:
    """What the mayor said to people, and the message that it answers, if any."""

    bead_id: str
    at: Time | None
    text: str
    in_reply_to: str | None


def unread_mail(sql: sqlite3.Connection, town: TownReader) -> tuple[UnreadMail, ...]:
    """Every message that is not delivered, oldest first."""
    since = dict(
        sql.execute(
            "SELECT bead_id, created_at FROM beads WHERE type = 'message' AND status = 'open' ORDER BY bead_id"
        ).fetchall()
    )
    return tuple(
        UnreadMail(
            bead_id=mail.id,
            to=MAYOR if town.is_for_mayor(mail.assignee) or mail.assignee is None else mail.assignee,
            created_by=mail.created_by,
            title=mail.title,
            since=readable_time(since.get(mail.id)),
            told=mail.told,
            told_at=mail.told_at,
        )
        for mail in town.mail
    )


def sayings(sql: sqlite3.Connection, *, since: datetime, limit: int) -> tuple[Saying, ...]:
    """What the mayor has said since a time, newest first."""
    rows = sql.execute(
        "SELECT b.bead_id, b.created_at, COALESCE(b.body, b.title), b.metadata FROM beads b "
        "JOIN agent_metadata a ON a.bead_id = b.created_by AND a.role = 'mayor' "
        "WHERE b.type = 'message' AND b.status = 'closed' AND b.created_at >= :since "
        "AND b.assignee_agent_bead_id IS NULL ORDER BY b.created_at DESC, b.bead_id LIMIT :limit",
        {"since": to_text(since), "limit": limit},
    ).fetchall()
    return tuple(
        Saying(bead_id, readable_time(at), text, MailNotes.in_reply_to.of(strict_json.stored(metadata)))
        for bead_id, at, text, metadata in rows
    )
