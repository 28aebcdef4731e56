"""How a calm world must end: every bead is over, or waits for a person who is named; no event is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.domain.limits import just_after
from shared.domain.tick import TickInput
from shared.questions.waiting import Waiting
from shared.questions.waits import Waits
from shared.town import database, journal
from tests.simulation.agents import SimulatedRuntime
from tests.simulation.forge import SimulatedForge
from tests.simulation.ground import Ground
from tests.simulation.ledger import Ledger, transient

_OVER: Final = ("closed", "failed")
_KINDS: Final = ("issue", "merge_request", "convoy")
_UNTIL_A_PERSON_ACTS: Final = (
    "failed_dependency",
    "missing_blocker",
    "convoy_over",
    "held",
    "staged",
    "no_rig",
    "awaiting_approval",
)


def unsettled(ground: Ground, runtime: SimulatedRuntime) -> bool:
    """Whether something still goes on by itself."""
    ledgers = ground.checks.ledgers
    busy = any(True for town_id in ledgers for _ in _is_busy(town_id, ground, runtime))
    return busy or any(True for _ in _still_going_on(ground, runtime))


def unfinished(ground: Ground, runtime: SimulatedRuntime) -> Iterator[str]:
    """What should have come to an end and has not; and what was acknowledged and is nowhere."""
    yield from _still_going_on(ground, runtime)
    for ledger in ground.checks.ledgers.values():
        yield from _lost_events(ledger, frozenset(ground.objects.inbox(ledger.town_id)))
        yield from _closed_without_a_merge(ledger, runtime.forge)


def _still_going_on(ground: Ground, runtime: SimulatedRuntime) -> Iterator[str]:
    for town_id, ledger in ground.checks.ledgers.items():
        yield from _is_busy(town_id, ground, runtime)
        live = [bead for bead, (kind, status) in ledger.statuses.items() if kind in _KINDS and status not in _OVER]
        waits = _waits(ledger, ground.scheduler.time()) if live else {}
        ground.checks.reasons.update(str(wait.reason) for wait in waits.values())
        for bead_id in live:
            wait = waits.get(bead_id)
            if wait is not None and not _is_true(wait, ledger):
                yield f"{town_id}: {bead_id} is said to wait for what is not so: {wait}"
            elif wait is None:
                yield f"{town_id}: {bead_id} is {ledger.statuses[bead_id][1]} and waits for nothing that has a name"
            elif not _for_a_person(bead_id, waits, ledger.tracks):
                yield f"{town_id}: {bead_id} is {ledger.statuses[bead_id][1]} and still waits: {wait}"
        unread = [bead for bead, (kind, status) in ledger.statuses.items() if kind == "message" and status not in _OVER]
        if unread:
            yield f"{town_id}: the mayor was not told: {unread[:5]}"
        yield from _crowded(town_id, runtime)


def _is_busy(town_id: str, ground: Ground, runtime: SimulatedRuntime) -> Iterator[str]:
    """What can be seen without a look into the town: agents that run, and events that wait."""
    ledger = ground.checks.ledgers[town_id]
    for (town, agent), lives in runtime.lives.items():
        if town == town_id and any(life.alive and not life.mayor for life in lives):
            yield f"{town_id}: agent {agent} is still running"
    pending = _acknowledged(ledger) - ledger.outcomes.keys()
    if pending:
        yield f"{town_id}: events that are not applied: {sorted(pending)[:5]}"


def _closed_without_a_merge(ledger: Ledger, forge: SimulatedForge) -> Iterator[str]:
    """Reviews that count as merged, and that nobody has merged."""
    query = (
        "SELECT b.bead_id, r.pr_url, g.git_url, r.target_branch, r.branch FROM beads b "
        "JOIN review_metadata r ON r.bead_id = b.bead_id JOIN rigs g ON g.id = b.rig_id "
        "WHERE b.status = 'closed' AND json_extract(b.metadata, '$.unproven') IS NULL ORDER BY b.bead_id"
    )
    with database.opened(ledger.image) as sql:
        closed = sql.execute(query).fetchall()
    for bead_id, pr_url, git_url, target, branch in closed:
        if pr_url is None and not forge.contains(git_url, target, branch):
            yield f"{ledger.town_id}: {bead_id} is closed, and {target} does not contain {branch}"
        elif pr_url is not None and forge.pulls[pr_url].state != "merged":
            yield f"{ledger.town_id}: {bead_id} is closed, and {pr_url} is {forge.pulls[pr_url].state}"


def _is_true(wait: Waiting, ledger: Ledger) -> bool:
    """Whether the world is as a wait says, where that can be told from the beads alone."""
    if wait.reason == "missing_blocker":
        return all(need.bead_id not in ledger.statuses for need in wait.needs)
    if wait.reason == "convoy_over":
        convoys = [convoy for convoy, tracked in ledger.tracks.items() if wait.bead_id in tracked]
        return any(ledger.statuses[convoy][1] in _OVER for convoy in convoys)
    return True


def _crowded(town_id: str, runtime: SimulatedRuntime) -> Iterator[str]:
    """Beads on which more than one process works."""
    working: dict[str, list[str]] = {}
    for (town, agent), lives in runtime.lives.items():
        for life in lives:
            if town == town_id and life.alive and not life.mayor:
                working.setdefault(life.bead.id, []).append(f"{agent} {life.generation}")
    for bead_id, processes in working.items():
        if len(processes) > 1:
            yield f"{town_id}: several processes work on {bead_id}: {', '.join(processes)}"


def _for_a_person(bead_id: str, waits: Mapping[str, Waiting], tracks: Mapping[str, Sequence[str]]) -> bool:
    """Whether only a person can end this: by itself, or because what it waits for does; a convoy waits for its tasks."""
    wait = waits.get(bead_id)
    if wait is None:
        return False
    if wait.reason in _UNTIL_A_PERSON_ACTS or wait.actor == "triage":
        return True
    if wait.reason == "blocked_by" and wait.actor is not None:
        return _for_a_person(wait.actor, waits, tracks)
    tasks = [task for task in tracks.get(bead_id, ()) if task in waits]
    return bool(tasks) and all(_for_a_person(task, waits, tracks) for task in tasks)


def _waits(ledger: Ledger, now: datetime) -> Mapping[str, Waiting]:
    with database.opened(ledger.image) as sql:
        last = TickInput.from_record(journal.rows(sql, limit=1)[0])
        given = replace(last, now=max(now, just_after(last.now)), new_events=())
        return Waits(sql, given, town_id=ledger.town_id).of_beads


def _acknowledged(ledger: Ledger) -> set[str]:
    return {event_id for event_id, event in ledger.acknowledged.items() if not transient(event)}


def _lost_events(ledger: Ledger, inbox: frozenset[str]) -> Iterator[str]:
    """A transient event may still lie in the inbox: it wakes nobody."""
    for event_id, event in ledger.acknowledged.items():
        if not ledger.has_heard(event) and not (transient(event) and inbox):
            yield f"{ledger.town_id}: {event_id} ({event.event_type}) was acknowledged and never reached a tick"
