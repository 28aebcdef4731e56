"""Explain: the life of one bead or agent, and why it waits now, or waited at a time in the past (spec/tick.md section 13).

The story is what journal and audit trail recorded. What comes next is asked of the rules themselves, on a private copy
of the town as it stood then. Reads only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.errors import Refused
from shared.domain.limits import just_after
from shared.domain.times import from_text, text_or_none, to_text
from shared.history.journal_rows import JournalRows
from shared.history.rerun import Rerun, input_of, rerun, time_of
from shared.images import summary
from shared.ports.steps import Steps
from shared.ports.town_past import PastImage, TownPast
from shared.questions import lives, snapshot
from shared.questions.story import Story, StoryEntry
from shared.questions.waits import CurrentWait, SubjectKind, current_wait
from shared.runner.code_version import code_version
from shared.town import database


@dataclass(frozen=True, slots=True)
class Explanation:
    """A life. `now` None: the bead or agent is no longer in the town."""

    town_id: str
    kind: SubjectKind
    subject: str
    base: PastImage
    tick_no: int
    tick_at: datetime | None
    row: Mapping[str, Any]
    story: tuple[StoryEntry, ...]
    signs_of_life: int
    now: CurrentWait | None
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The answer of explain."""
        return {
            "townId": self.town_id,
            "kind": self.kind,
            "id": self.subject,
            "asOf": {
                "txid": self.base.txid,
                "tick": self.tick_no,
                "time": text_or_none(self.tick_at),
                "sqliteVersion": database.SQLITE_VERSION,
                "codeVersion": code_version(),
            },
            "state": dict(self.row),
            "story": [entry.as_json() for entry in self.story],
            "signsOfLife": self.signs_of_life,
            "now": None if self.now is None else self.now.as_json(),
            "notes": list(self.notes),
        }


def explain_bead(
    town_id: str, bead_id: str, past: TownPast, *, now: datetime, at: datetime | None = None
) -> Steps[Explanation]:
    """The life of a bead up to `at`, else up to `now`. Raises Refused (404 unknown, 400 a time that cannot be shown)."""
    return (yield from _explain(town_id, "bead", bead_id, past, now, at))


def explain_agent(
    town_id: str, agent_id: str, past: TownPast, *, now: datetime, at: datetime | None = None
) -> Steps[Explanation]:
    """The life of an agent up to `at`, else up to `now`. Raises Refused (404 unknown, 400 a time that cannot be shown)."""
    return (yield from _explain(town_id, "agent", agent_id, past, now, at))


def _explain(
    town_id: str, kind: SubjectKind, subject: str, past: TownPast, now: datetime, at: datetime | None
) -> Steps[Explanation]:
    if at is not None and at > now:
        raise Refused(
            f"at lies in the future: {to_text(at)}, and it is {to_text(now)}",
            status=400,
            path="at",
            hint="leave it out: the answer says what comes next",
        )
    if at is None:
        start = yield from past.newest(town_id)
    else:
        start = yield from _standing_before(town_id, past, at)
    with rerun(start) as running:
        notes = [] if at is None else (yield from _roll_forward(running, past, at))
        row = _row(running.sql, kind, subject)
        story = Story(
            subject,
            lives.audit_trail(running.sql, subject),
            {life.effect_id: life for life in lives.effects(running.sql)},
            is_agent=kind == "agent",
            hooked_now=row.get("current_hook_bead_id") or lives.hooked_agent(running.sql, subject),
        )
        until = at or now
        yield from _read(story, past, town_id, row, until)
        told = story.told()
        if not row and not told:
            raise _unknown(town_id, kind, subject, at)
        notes += _what_is_missing(story, row)
        seen = snapshot.given_at(running, until).now
        return Explanation(
            town_id=town_id,
            kind=kind,
            subject=subject,
            base=start,
            tick_no=running.tick_no,
            tick_at=summary.before_tick(running.sql).last_tick_at,
            row=row,
            story=told,
            signs_of_life=story.signs_of_life,
            now=current_wait(running, kind, subject, story, told, seen) if row else None,
            notes=tuple(notes),
        )


def _standing_before(town_id: str, past: TownPast, at: datetime) -> Steps[PastImage]:
    found = yield from past.before(town_id, just_after(at))
    if found is not None:
        return found
    oldest = yield from past.oldest(town_id)
    since = oldest.tick_at or oldest.committed_at
    if since > at:
        raise Refused(
            f"at lies before what is kept: this town is known from {to_text(since)} on",
            status=400,
            path="at",
            hint=f"ask for {to_text(since)} or later",
        )
    return oldest


def _roll_forward(running: Rerun, past: TownPast, at: datetime) -> Steps[list[str]]:
    """Run the recorded ticks between the kept image and the time; what is not certain then is said."""
    notes: list[str] = []
    rows = JournalRows(past, running.town_id)
    yield from rows.start_after(running.tick_no)
    while (row := rows.next) is not None and time_of(row) <= at:
        if row["tick_no"] != running.tick_no + 1:
            notes.append(
                f"the journal lacks ticks {running.tick_no + 1} to {row['tick_no'] - 1}: the state is of before"
            )
            break
        if row["code_version"] != code_version() and not notes:
            notes.append(f"other code made tick {row['tick_no']}: the state is what the installed code makes of it")
        running.run(input_of(row))
        yield from rows.advance()
    return notes


def _read(story: Story, past: TownPast, town_id: str, row: Mapping[str, Any], until: datetime) -> Steps[None]:
    """Read the journal from the birth of the bead, where that is known, to the end of the story."""
    born = None if not row else (yield from past.before(town_id, from_text(row["created_at"])))
    rows = JournalRows(past, town_id)
    yield from rows.start_after(0 if born is None else born.tick_no)
    while (recorded := rows.next) is not None and time_of(recorded) <= until:
        story.read(recorded)
        yield from rows.advance()


def _row(sql: database.Database, kind: SubjectKind, subject: str) -> dict[str, Any]:
    """The row of the bead, with the agent's own for an agent; empty if there is none."""
    bead = lives.bead_row(sql, subject)
    if bead is None:
        return {}
    agent = lives.agent_row(sql, subject)
    if (agent is not None) != (kind == "agent"):
        other = "agent" if agent is not None else "bead"
        raise Refused(
            f"{subject} is not {'a bead of work' if kind == 'bead' else 'an agent'}, it is "
            f"{'an agent' if agent is not None else 'a bead'}",
            status=400,
            path=kind,
            hint=f"ask for {other} {subject}",
        )
    return bead if agent is None else {**bead, **agent}


def _unknown(town_id: str, kind: SubjectKind, subject: str, at: datetime | None) -> Refused:
    then = "" if at is None else f" at {to_text(at)}"
    return Refused(
        f"there is no {kind} {subject} in {town_id}{then}",
        status=404,
        path=kind,
        hint=f"`townctl town status {town_id} --json` names every live bead and every agent",
    )


def _what_is_missing(story: Story, row: Mapping[str, Any]) -> list[str]:
    first = story.first_tick
    if first is None:
        return ["no journal row of this time is kept: the story comes from the audit trail only"]
    if row and first.tick > 1 and from_text(row["created_at"]) < first.time:
        return [f"the story before tick {first.tick} comes from the audit trail only: older journal rows are not kept"]
    return []
