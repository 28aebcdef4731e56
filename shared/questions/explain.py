"""Explain: the history of one bead or agent, and why it waits now or waited at a past time (spec/tick.md section 13).

The history comes from the journal and the audit trail. The next acts are found by running the rules themselves on a private
copy of the town as it was at that time. Nothing is written.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

from shared.domain.errors import Refused
from shared.domain.restores import Lineage
from shared.domain.shapes import Time, answer
from shared.domain.states import BeadStatus
from shared.domain.times import readable_time, to_text
from shared.history import as_it_was
from shared.history.archived import fetch
from shared.history.journal_rows import JournalRows, ticks_text
from shared.history.rerun import Rerun, rerun, time_of
from shared.images import summary
from shared.ports.agent_logs import AgentLogs
from shared.ports.steps import Steps
from shared.ports.town_past import TownPast
from shared.questions import failures, lives, snapshot, spend
from shared.questions.agent_log import LastLines, failed_start, last_lines_of
from shared.questions.failures import FailedLine
from shared.questions.present import CurrentWait, SubjectKind, current_wait
from shared.questions.snapshot import AsOf
from shared.questions.spend import Spend
from shared.questions.story import Story, StoryEntry
from shared.questions.waits import Waits
from shared.runner.code_version import code_version
from shared.town import database, migrations
from shared.town.town_keys import TownKeys

ARCHIVED: Final = "it ended long ago and is in the town's archive: an event that names it brings it back into the town"


@answer
class Gone:
    """Why a bead or agent that has a history is not in the town: it was deleted `at` a time, or it never existed."""

    existed: bool
    at: Time | None
    says: str


@answer
class Explanation:
    """The history of a bead or agent. `row` and `now` are null, and `gone` is not, if it does not exist."""

    town_id: str
    kind: SubjectKind
    id: str
    as_of: AsOf
    row: Mapping[str, Any] | None
    story: tuple[StoryEntry, ...]
    signs_of_life: int
    now: CurrentWait | None
    used: Spend | None
    """What was used for the bead, its reviews and follow-ups included, or in the convoy; by the newest start of the agent."""
    gone: Gone | None
    last_lines: LastLines | None
    """What the agent printed at last, if its newest start of today failed and its log is kept."""
    notes: tuple[str, ...]
    failed: FailedLine | None = None
    """How it failed, or how the failed bead did for which it waits in the end."""


def explain_bead(
    town_id: str,
    bead_id: str,
    past: TownPast,
    *,
    now: datetime,
    at: datetime | None = None,
    logs: AgentLogs | None = None,
) -> Steps[Explanation]:
    """Explain a bead as of `at`, or as of `now`; without `at`, with the last lines of an agent that failed.

    Raises Refused: 404 if it is unknown; 400 if it is an agent, or if `at` is in the future or before the kept history.
    """
    return (yield from _explain(town_id, "bead", bead_id, past, now=now, at=at, logs=logs))


def explain_agent(
    town_id: str,
    agent_id: str,
    past: TownPast,
    *,
    now: datetime,
    at: datetime | None = None,
    logs: AgentLogs | None = None,
) -> Steps[Explanation]:
    """Explain an agent as of `at`, or as of `now`; without `at`, with the last lines that it printed before it failed.

    Raises Refused: 404 if it is unknown; 400 if it is another bead, or if `at` is in the future or before the kept history.
    """
    return (yield from _explain(town_id, "agent", agent_id, past, now=now, at=at, logs=logs))


def _explain(
    town_id: str,
    kind: SubjectKind,
    subject: str,
    past: TownPast,
    *,
    now: datetime,
    at: datetime | None,
    logs: AgentLogs | None,
) -> Steps[Explanation]:
    if at is not None and at > now:
        raise Refused(
            f"at is in the future: {to_text(at)}; the present time is {to_text(now)}",
            status=400,
            path="at",
            hint="omit `at`: the answer then describes the present and says what comes next",
        )
    start = yield from past.newest(town_id) if at is None else as_it_was.image_at(town_id, past, at)
    with rerun(start) as running:
        notes = [] if at is None else (yield from as_it_was.roll_forward(running, past, at, installed=code_version()))
        with migrations.newest_schema(running.sql):
            told = yield from _told(running, past, kind, subject, now, at)
            own = None if at is not None else failed_start(running.sql, subject, is_agent=kind == "agent")
    lines = None if own is None or logs is None else (yield from last_lines_of(town_id, own, logs))
    as_of = replace(told.as_of, txid=start.txid)
    failed = yield from _failure_told(told, past, logs if at is None else None)
    return replace(told, as_of=as_of, notes=(*notes, *told.notes), last_lines=lines, failed=failed)


def _failure_told(told: Explanation, past: TownPast, logs: AgentLogs | None) -> Steps[FailedLine | None]:
    if told.failed is None:
        return None
    open_logs = None if logs is None else (lambda: logs)
    [failed] = yield from failures.told(told.town_id, [told.failed], open_logs, lambda: past, last_tick=told.as_of.tick)
    return failed


def _told(
    running: Rerun, past: TownPast, kind: SubjectKind, subject: str, now: datetime, at: datetime | None
) -> Steps[Explanation]:
    """The explanation from the state of a rerun and from the journal."""
    town_id = running.town_id
    archived = (yield from fetch(running.sql, past, town_id, [subject])) if kind == "bead" else frozenset()
    row = _row(running.sql, town_id, kind, subject)
    story, until = _empty_story(running.sql, kind, subject, row), at or now
    past = past.around_damage()
    discarded = yield from _read(story, past, running, row, until)
    entries = story.entries()
    if not row and (" " in subject or all(entry.code == "restore" for entry in entries)):
        yield from _refuse_before_birth(past, town_id, kind, subject, at)
        raise _unknown(running.sql, town_id, kind, subject, at)
    if not row and kind == "bead" and _was_agent(subject, entries):
        raise _of_other_kind(town_id, "agent", subject, was="was")
    seen = snapshot.given_at(running, until).now
    wait = current_wait(running, kind, subject, story, entries, seen) if row else None
    return Explanation(
        town_id=town_id,
        kind=kind,
        id=subject,
        as_of=snapshot.as_of(running.txid, running.tick_no, summary.before_tick(running.sql).last_tick_at),
        row=row or None,
        story=entries,
        signs_of_life=story.signs_of_life,
        now=wait,
        used=spend.of_agents(running.sql).get(subject) if kind == "agent" else _spent_for(running.sql, subject, row),
        gone=None if row else _gone(running.sql, kind, subject, story, entries),
        last_lines=None,
        failed=None if wait is None or kind == "agent" else _failure(running, row, wait, seen),
        notes=(*([ARCHIVED] if archived else []), *discarded, *_what_is_missing(story, row), *past.left_out),
    )


def _failure(running: Rerun, row: Mapping[str, object], now: CurrentWait, seen: datetime) -> FailedLine | None:
    """How the bead of this row failed, or the one at the root of its wait; None if neither has."""
    if (row["status"] if now.root is None else now.root.status) != BeadStatus.FAILED:
        return None
    waits = Waits(running.sql, snapshot.given_at(running, seen), town_id=running.town_id)
    holding = failures.held_back(waits.of_beads.values())
    failed = now.bead_id if now.root is None else now.root.bead_id
    return failures.failed_bead(running.sql, waits.town, failed, holding=holding)


def _spent_for(sql: database.Database, bead_id: str, row: Mapping[str, Any]) -> Spend | None:
    return spend.of_bead(sql, row["type"], bead_id) if row else None


def _empty_story(sql: database.Database, kind: SubjectKind, subject: str, row: Mapping[str, Any]) -> Story:
    """A story before it reads the journal."""
    return Story(
        subject,
        lives.audit_trail(sql, subject),
        {effect.effect_id: effect for effect in lives.effects(sql)},
        is_agent=kind == "agent",
        hooked_now=row.get("current_hook_bead_id") or lives.hooked_agent(sql, subject),
    )


def _read(story: Story, past: TownPast, running: Rerun, row: Mapping[str, Any], until: datetime) -> Steps[list[str]]:
    """Read the journal from the creation of the bead, or from its beginning if that is unknown, up to `until`.

    Ticks that a restore in place discarded are no part of the story; returns notes that name them.
    """
    town_id, lineage = running.town_id, Lineage(TownKeys(running.sql).restores)
    passed: dict[int, list[int]] = {}
    created_at = readable_time(row.get("created_at"))
    born = None if created_at is None else (yield from past.before(town_id, created_at))
    rows = JournalRows(past, town_id)
    yield from rows.start_after(0 if born is None else born.tick_no)
    while (recorded := rows.next) is not None and recorded["tick_no"] <= running.tick_no:
        by = lineage.discarded_by(recorded["tick_no"])
        if by is not None:
            passed.setdefault(by.tick, []).append(recorded["tick_no"])
        elif time_of(recorded) <= until:
            story.read(recorded)
        yield from rows.advance()
    return [
        f"{ticks_text(numbers[0], numbers[-1])} ran, but tick {tick} restored an older state: the town does not remember them"
        for tick, numbers in passed.items()
    ]


def _row(sql: database.Database, town_id: str, kind: SubjectKind, subject: str) -> dict[str, Any]:
    """The row of the bead, with the agent's own columns for an agent; empty if it does not exist."""
    bead = lives.bead_row(sql, subject)
    if bead is None:
        return {}
    agent = lives.agent_row(sql, subject)
    if (agent is not None) != (kind == "agent"):
        raise _of_other_kind(town_id, "bead" if agent is None else "agent", subject, was="is")
    return bead if agent is None else {**bead, **agent}


def _of_other_kind(town_id: str, other: SubjectKind, subject: str, *, was: Literal["is", "was"]) -> Refused:
    """The refusal if the id of an agent is given for a bead, or the id of a bead for an agent."""
    names = {"agent": "an agent, not a bead", "bead": "a bead, not an agent"}
    return Refused(
        f"{subject} {was} {names[other]}",
        status=400,
        path="bead" if other == "agent" else "agent",
        hint=f"`townctl explain {other} {subject} --town {town_id}` explains it",
    )


def _was_agent(subject: str, entries: tuple[StoryEntry, ...]) -> bool:
    """Whether the story says that this agent was deleted."""
    return any(each.what == f"delete_agent {subject}" and each.outcome == "applied" for each in entries)


def _refuse_before_birth(
    past: TownPast, town_id: str, kind: SubjectKind, subject: str, at: datetime | None
) -> Steps[None]:
    """Raise Refused (404) with the time of creation, if a bead or agent of today did not exist at a past time."""
    if at is None:
        return
    newest = yield from past.newest(town_id)
    with rerun(newest) as today:
        row = lives.bead_row(today.sql, subject)
    created_at = None if row is None else readable_time(row["created_at"])
    if created_at is None or created_at <= at:
        return
    raise Refused(
        f"town {town_id} had no {kind} {subject} at {to_text(at)}: it was created at {to_text(created_at)}",
        status=404,
        path="at",
        hint=f"ask for {to_text(created_at)} or later",
    )


def _gone(
    sql: database.Database, kind: SubjectKind, subject: str, story: Story, entries: tuple[StoryEntry, ...]
) -> Gone:
    """What the history says about a bead or agent that is not in the town: it has existed if it was created or deleted."""
    deleted = next(
        (each for each in reversed(entries) if each.what.startswith("delete_") and each.outcome == "applied"), None
    )
    if deleted is not None:
        return Gone(
            True, deleted.time, f"the {kind} is no longer in the town: it was deleted at {to_text(deleted.time)}"
        )
    created = next((line for line in story.trail if line.bead_id == subject and line.event_type == "created"), None)
    if created is not None:
        last = entries[-1].time
        return Gone(True, last, f"the {kind} is no longer in the town: the last entry about it is of {to_text(last)}")
    first = story.first_tick
    near = lives.did_you_mean(sql, subject, is_agent=kind == "agent").rstrip()
    near = f"; {near}" if near else ""
    since = "" if first is None else f", which begins with tick {first.tick} at {to_text(first.time)}"
    return Gone(
        False,
        None,
        f"the {kind} never existed in the kept history{since}: events name it, but nothing created it{near}",
    )


def _unknown(sql: database.Database, town_id: str, kind: SubjectKind, subject: str, at: datetime | None) -> Refused:
    then = "" if at is None else f" at {to_text(at)}"
    other: SubjectKind = "agent" if kind == "bead" else "bead"
    meant = lives.meant(sql, subject, is_agent=other == "agent", limit=2)
    if len(meant) == 1:
        return Refused(
            f"town {town_id} has no {kind} {subject}: it is the {other} {meant[0]}",
            status=404,
            path=kind,
            hint=f"`townctl explain {other} {subject} --town {town_id}` explains it",
        )
    near = lives.did_you_mean(sql, subject, is_agent=kind == "agent")
    return Refused(
        f"town {town_id} has no {kind} {subject}{then}",
        status=404,
        path=kind,
        hint=f"{near}`townctl {kind} list {town_id}` shows the ids of all",
    )


def _what_is_missing(story: Story, row: Mapping[str, Any]) -> list[str]:
    first = story.first_tick
    if first is None:
        return ["no journal rows of this time are kept: this history comes only from the audit trail"]
    created_at = readable_time(row.get("created_at"))
    if created_at is not None and first.tick > 1 and created_at < first.time:
        return [
            f"the history before tick {first.tick} comes only from the audit trail: older journal rows are not kept"
        ]
    return []
