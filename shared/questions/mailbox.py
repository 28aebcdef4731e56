"""The mail of a town: messages that their addressees have not read, and what the mayor said last."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from shared.domain import strict_json
from shared.domain.notes import MailNotes
from shared.domain.shapes import Time, answer
from shared.domain.times import readable_time, to_text
from shared.town.reading import TownReader

MAYOR: Final = "mayor"
SAID_SHOWN_FOR: Final = timedelta(hours=24)
_TOPICS: Final[Mapping[str, str]] = {
    "breaker": "agents fail to start, and the breaker changes its state",
    "budget_spent": "most of the budget of the {about} is used",
    "cap": "the attempts of the review {about} are used up",
    "escalation": "the escalation {about}",
    "failed_blocker": "{about} failed and holds others back",
    "mail": "the message {about}",
    "triage_exhausted": "triage brought no answer about {about}",
}
"""What the mayor is told, by the first part of the subject. Others are the reasons why beads wait."""


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
    """What the mayor said to people, and the message that it answers, if any. `answered`: a person has written to it since."""

    bead_id: str
    at: Time | None
    text: str
    in_reply_to: str | None
    answered: bool


@answer
class Told:
    """What the mayor was told last: `mail`, or what the town reports to it, such as `failed_blocker`.

    `about` is the message or bead, `title` its title, null if there is none; `says` is a clause that names it by its id.
    """

    at: Time | None
    topic: str
    about: str
    title: str | None
    says: str


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
        "SELECT b.bead_id, b.created_at, COALESCE(b.body, b.title), b.metadata, EXISTS (SELECT 1 FROM beads r "
        "LEFT JOIN agent_metadata t ON t.bead_id = r.assignee_agent_bead_id "
        "LEFT JOIN agent_metadata f ON f.bead_id = r.created_by WHERE r.type = 'message' AND f.bead_id IS NULL "
        "AND (r.assignee_agent_bead_id IS NULL OR t.role = 'mayor') AND r.created_at > b.created_at) FROM beads b "
        "JOIN agent_metadata a ON a.bead_id = b.created_by AND a.role = 'mayor' "
        "WHERE b.type = 'message' AND b.status = 'closed' AND b.created_at >= :since "
        "AND b.assignee_agent_bead_id IS NULL ORDER BY b.created_at DESC, b.bead_id LIMIT :limit",
        {"since": to_text(since), "limit": limit},
    ).fetchall()
    return tuple(
        Saying(
            bead_id,
            readable_time(at),
            text,
            MailNotes.in_reply_to.of(strict_json.stored(metadata)),
            answered=bool(answered),
        )
        for bead_id, at, text, metadata, answered in rows
    )


def told(sql: sqlite3.Connection) -> Told | None:
    """What the mayor was told last; None if it was told nothing that is known."""
    row = sql.execute(
        "SELECT e.created_at, e.metadata ->> '$.subject' FROM agent_metadata a JOIN bead_events e ON e.bead_id = a.bead_id "
        "WHERE a.role = 'mayor' AND e.event_type = 'mail_sent' AND json_valid(e.metadata) "
        "AND e.metadata ->> '$.subject' IS NOT NULL ORDER BY e.seq DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    topic, _, about = row[1].partition(":")
    title = sql.execute("SELECT title FROM beads WHERE bead_id = :id", {"id": about}).fetchone()
    says = _TOPICS.get(topic, "{about} waits (" + topic + ")").format(about=about)
    return Told(readable_time(row[0]), topic, about, None if title is None else title[0], says)
