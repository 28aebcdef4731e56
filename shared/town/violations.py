"""The table of violated invariants. A violation is noted when first seen, opened, captured (reported), and finally removed."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.errors import RowUnreadable
from shared.domain.times import from_text, time_or_none
from shared.town.town import Town


@dataclass(frozen=True, slots=True)
class StoredViolation:
    """One row of open_violations."""

    invariant: int
    subject: str
    first_seen_tick: int
    first_seen_at: datetime
    opened_at: datetime | None
    last_captured_at: datetime | None
    message: str


def known(town: Town) -> dict[tuple[int, str], StoredViolation]:
    """All rows by (invariant, subject). Unreadable ones are noted for invariant 1."""
    rows = town.sql.execute(
        "SELECT invariant, subject, first_seen_tick, first_seen_at, opened_at, last_captured_at, message "
        "FROM open_violations ORDER BY invariant, subject"
    ).fetchall()
    found = {}
    for invariant, subject, tick, first_seen, opened, captured, message in rows:
        try:
            times = from_text(first_seen), time_or_none(opened), time_or_none(captured)
        except ValueError as error:
            town.note_unreadable(RowUnreadable("open_violations", f"{invariant} {subject}", str(error)))
            continue
        found[(invariant, subject)] = StoredViolation(invariant, subject, tick, *times, message)
    return found


def note(town: Town, invariant: int, subject: str, message: str) -> None:
    """Note a violation that is seen for the first time, or whose row cannot be read."""
    town.sql.execute(
        "INSERT INTO open_violations (invariant, subject, first_seen_tick, first_seen_at, message) "
        "VALUES (:invariant, :subject, :tick, :now, :message) ON CONFLICT (invariant, subject) DO UPDATE SET "
        "first_seen_tick = excluded.first_seen_tick, first_seen_at = excluded.first_seen_at, opened_at = NULL, "
        "last_captured_at = NULL, message = excluded.message",
        {
            "invariant": invariant,
            "subject": subject,
            "tick": town.tick.number,
            "now": town.tick.now_text,
            "message": message,
        },
    )


def capture(town: Town, invariant: int, subject: str) -> None:
    """Note that a violation is open and reported now."""
    town.sql.execute(
        "UPDATE open_violations SET opened_at = COALESCE(opened_at, :now), last_captured_at = :now "
        "WHERE invariant = :invariant AND subject = :subject",
        {"invariant": invariant, "subject": subject, "now": town.tick.now_text},
    )


def forget(town: Town, invariant: int, subject: str) -> None:
    """Remove a violation that is no longer seen."""
    town.sql.execute(
        "DELETE FROM open_violations WHERE invariant = :invariant AND subject = :subject",
        {"invariant": invariant, "subject": subject},
    )
