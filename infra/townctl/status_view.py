"""The status of a town for people: what needs somebody first, what works, what waits, and last what rests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.console import RenderableType
from rich.text import Text

from infra.townctl import people
from infra.townctl.output import plain, table
from infra.townctl.paging import ahead_of_this_machine
from infra.townctl.people import needs_a_person, shown_of, some_of, span, state, waits_for, when
from infra.townctl.wording import quantity
from infra.ui.remedies import Remedy, remedies_of, reopening
from infra.ui.short_ids import short
from shared.domain.times import long_span_text
from shared.questions.spend import spend_words

if TYPE_CHECKING:
    from shared.questions.failures import FailedLine
    from shared.questions.overview import BeadLine
    from shared.questions.status import AgentLine, TownStatus

BEADS_SHOWN: Final = 40
"""Live beads in a status; `townctl bead list` has them all."""
HELPS_SHOWN: Final = 12
"""Commands that help; `townctl explain bead` has those of each bead."""
_HELD_NAMED: Final = 3
_IDLE_NAMED: Final = 6
_DAYS_SHOWN: Final = 3
_URGENCY: Final = {"in_review": 2, "in_progress": 1}


def status_view(town: TownStatus) -> Iterator[RenderableType]:
    """The lines and tables of a status, in the order in which they matter."""
    yield from head(town)
    yield from failed(town)
    yield from _problems(town)
    yield from beads(town, most=BEADS_SHOWN)
    yield from helps(town, most=HELPS_SHOWN)
    yield from _convoys(town)
    yield from _mail(town)
    yield from agents(town)
    yield from _spend(town)


def head(town: TownStatus) -> Iterator[RenderableType]:
    """What a town does next, and what holds all of it back or is wrong with it."""
    yield Text(f"{town.town_id}: {_wake(town)}; {_last_tick(town)}", style="bold")
    if town.last_restore is not None:
        restore = town.last_restore
        yield Text(plain(f"tick {restore.tick}, {when(restore.at, town.now)}: {restore.says()}"))
    for claim in _claims(town):
        yield Text(claim, style="yellow")
    yield from _warnings(town)


def names_in(town: TownStatus) -> dict[str, str]:
    """The names of everything in a status, by id: titles of beads, names of agents."""
    titles = {failed.bead_id: failed.title for failed in town.failed}
    titles |= {convoy.bead_id: convoy.title for convoy in town.convoys}
    titles |= {bead.bead_id: bead.title for bead in town.beads}
    return titles | {agent.agent_id: people.agent_name(agent.identity) for agent in town.agents}


def _warnings(town: TownStatus) -> Iterator[RenderableType]:
    if town.merges_unproven:
        yield Text(f"merges accepted on a refinery's word, because nothing could check them: {town.merges_unproven}")
    for broken in town.violations:
        since = when(broken.opened_at, town.now)
        yield Text(plain(f"violation {broken.invariant}, {since}: {broken.message}"), style="red")
    for row in town.unreadable:
        yield Text(plain(f"unreadable: {row.table} {row.key}: {row.problem}"), style="red")


def failed(town: TownStatus) -> Iterator[RenderableType]:
    """The failed beads, with how the last attempt of each ended."""
    if town.failed:
        rows = [
            (
                Text(plain(each.title), style="red"),
                each.message or each.reason,
                None if each.newest_start is None else each.newest_start.ended,
                when(each.failed_at, town.now),
                short(each.bead_id),
            )
            for each in town.failed
        ]
        yield table("failed", "why", "last start", "when", "bead", rows=rows)


def _problems(town: TownStatus) -> Iterator[RenderableType]:
    """What the forge refused, and pull requests that nobody looks after."""
    if town.refused_by_forge:
        names = names_in(town)
        refused = [
            (people.name_of(line.bead_id, names), line.said, when(line.at, town.now), line.effect, short(line.bead_id))
            for line in town.refused_by_forge
        ]
        yield table("refused by the forge", "answer", "when", "call", "bead", rows=refused)
    if town.abandoned:
        left = [(each.title, each.pr_url, when(each.ended_at, town.now), each.reason) for each in town.abandoned]
        yield table("abandoned", "pull request", "when", "why", rows=left)


def beads(town: TownStatus, *, most: int) -> Iterator[RenderableType]:
    """The live beads: those that wait for a person, those at work and in review, and then those that wait for something else."""
    if not town.beads:
        return
    names, waits = names_in(town), {each.bead_id: each for each in town.waiting}
    workers = {agent.hook: f"{names[agent.agent_id]} works on it" for agent in town.agents if agent.hook is not None}

    def order(bead: BeadLine) -> tuple[int, int]:
        urgent = 3 if needs_a_person(waits.get(bead.bead_id)) else _URGENCY.get(bead.status, 0)
        return -urgent, town.beads.index(bead)

    rows = []
    for bead in sorted(town.beads, key=order)[:most]:
        waiting = waits.get(bead.bead_id)
        why = workers.get(bead.bead_id) if waiting is None else waits_for(waiting, town.town_id, names)
        rows.append(
            (
                plain(bead.title),
                state(bead.status, people.BEADS),
                why,
                None if waiting is None else when(waiting.since, town.now),
                None if waiting is None else people.until(waiting, town.now),
                short(bead.bead_id),
                people.kind(bead.type),
            )
        )
    yield table("title", "state", "why it waits", "since", "until", "bead", "type", rows=rows)
    command = f"townctl bead list {town.town_id} --status live"
    yield from _line(shown_of(len(rows), len(town.beads), "beads", command))


def helps(town: TownStatus, *, most: int) -> Iterator[RenderableType]:
    """What a person can do, with the commands: first about failed beads, then about those that wait for a person."""
    names = names_in(town)
    notes: dict[Remedy, str | None] = {
        reopening(each.bead_id, town.town_id): _again(each, names) for each in town.failed
    }
    for waiting in filter(needs_a_person, town.waiting):
        for remedy in remedies_of(waiting, town.town_id):
            notes.setdefault(remedy, None)
    shown = [(remedy, note) for remedy, note in notes.items() if remedy.command is not None]
    if shown:
        yield Text("what you can do:", style="bold")
    for remedy, note in shown[:most]:
        yield Text(plain(f"  {people.done(remedy, names)}: {remedy.command}"))
        if note is not None:
            yield Text(plain(f"    {note}"), style="dim")
    if len(shown) > most:
        yield Text(f"  and {len(shown) - most} more: townctl explain bead BEAD --town {town.town_id}", style="dim")


def _again(bead: FailedLine, names: Mapping[str, str]) -> str:
    """What comes of a failed bead that is reopened: how often it is started, and whether it would fail again."""
    starts = f"reopened, it gets {quantity(bead.attempts_at_most, 'start')} (setting max_dispatch_attempts)"
    held = some_of((people.name_of(each, names) for each in bead.holds_back), _HELD_NAMED)
    held = f"; it holds back {held}" if held else ""
    if bead.newest_start is None:
        return starts + held
    error = f": {bead.last_line}" if bead.last_line else ""
    return f"{starts}{held}; it fails again unless this is mended: its last start {bead.newest_start.ended}{error}"


def _convoys(town: TownStatus) -> Iterator[RenderableType]:
    if town.convoys:
        rows = [
            (
                each.title,
                state(each.state, people.CONVOYS),
                f"{each.done} of {each.total}",
                short(each.bead_id),
                spend_words(each.used),
            )
            for each in town.convoys
        ]
        yield table("convoy", "state", "done", "id", "used", rows=rows)


def _mail(town: TownStatus) -> Iterator[RenderableType]:
    names = names_in(town)
    if town.unread_mail:
        rows = []
        for mail in town.unread_mail:
            told = f"{quantity(mail.told, 'time')}, last {when(mail.told_at, town.now)}" if mail.told else "not yet"
            rows.append(
                (mail.title, people.name_of(mail.to, names), when(mail.since, town.now), told, short(mail.bead_id))
            )
        yield table("unread mail", "to", "since", "delivery requested", "bead", rows=rows)
    if town.mayor_said:
        said = [(each.text, when(each.at, town.now), short(each.in_reply_to or "")) for each in town.mayor_said]
        yield table("the mayor said", "when", "in reply to", rows=said)


def rests(agent: AgentLine) -> bool:
    """Whether an agent has nothing to do."""
    return agent.status == "idle" and agent.hook is None


def agents(town: TownStatus) -> Iterator[RenderableType]:
    """The agents that do something, and in one line those that rest."""
    resting = [agent for agent in town.agents if rests(agent)]
    busy = [agent for agent in town.agents if not rests(agent)]
    if busy:
        yield table("agent", "state", "works on", "says", "seen", "role", "used", rows=_agent_rows(town, busy))
    if resting:
        named = some_of((people.agent_name(agent.identity) for agent in resting), _IDLE_NAMED)
        yield Text(plain(f"{quantity(len(resting), 'idle agent')}: {named}"), style="dim")


def _agent_rows(town: TownStatus, busy: list[AgentLine]) -> Iterator[tuple[object, ...]]:
    names: Mapping[str, str] = names_in(town)
    for agent in busy:
        works_on = None if agent.hook is None else people.name_of(agent.hook, names)
        seen = None if agent.last_activity_at is None else when(agent.last_activity_at, town.now)
        name, word = people.agent_name(agent.identity), state(agent.status, people.AGENTS)
        says = agent.says or (_told(town, names) if agent.role == "mayor" else None)
        yield name, word, works_on, says, seen, agent.role, spend_words(agent.used)


def _told(town: TownStatus, names: Mapping[str, str]) -> str | None:
    """What the mayor was told last, in place of what it says: it has nothing to do until it is told more."""
    told = town.mayor_told
    if told is None:
        return None
    known = {**names, **({} if told.title is None else {told.about: told.title})}
    return f"told last, {when(told.at, town.now)}: {told.says.replace(told.about, people.name_of(told.about, known))}"


def _spend(town: TownStatus) -> Iterator[RenderableType]:
    if town.spend:
        days = town.spend[:_DAYS_SHOWN]
        yield table("day (UTC)", "used", rows=[(each.day, spend_words(each.spend)) for each in days])


def _line(text: Text | None) -> Iterator[Text]:
    if text is not None:
        yield text


def _last_tick(town: TownStatus) -> str:
    return f"tick {town.as_of.tick}, {when(town.as_of.time, town.now)}"


def _wake(town: TownStatus) -> str:
    if town.inbox_batches:
        batches = quantity(town.inbox_batches, "batch of events", "batches of events")
        return f"due now, with {batches} in the inbox"
    if town.next_due_at is None:
        return "only an event can wake it"
    if town.next_due_at <= town.now:
        return f"due now, for {span(town.now - town.next_due_at)}"
    return f"next due {when(town.next_due_at, town.now)}"


def _by_whom(town: TownStatus) -> str:
    if town.brake is None:
        return ""
    stopped = ", agents stopped" if town.brake.stopped_agents else ""
    return f" by {plain(town.brake.by)} {when(town.brake.at, town.now)}{stopped}"


def _claims(town: TownStatus) -> Iterator[str]:
    if town.set_aside is not None:
        runs = quantity(town.set_aside.deaths, "run")
        yield f"set aside: {runs} ended the process; it is not run until `townctl town resume {town.town_id}`"
    if town.ahead_seconds is not None:
        lead = long_span_text(timedelta(seconds=town.ahead_seconds))
        yield (
            f"its newest commit is {lead} ahead of the clock here, so nothing is done until then: `townctl doctor {town.town_id}` "
            "shows how time is brought back"
        )
    if town.own_clock:
        ahead = ahead_of_this_machine(town.now)
        lead = "" if ahead is None else f" ({span(ahead)} ahead of this machine)"
        yield f"on its own clock{lead}, which only `townctl run --towns {town.town_id}` moves"
    if town.paused:
        yield f"paused{_by_whom(town)}: no rule acts until `townctl start {town.town_id}`"
    if town.draining:
        yield "draining: nothing is dispatched until the container is replaced"
    if town.settling:
        yield "settling after an outage or a restore: time-based recovery waits"
    if town.breaker.open:
        beads = quantity(town.breaker.failures, "bead")
        yield f"the dispatch breaker is open because {beads} failed to start; nothing is dispatched until it closes"
    if town.events.pending:
        pending = town.events.pending
        wait = "waits" if pending == 1 else "wait"
        yield f"{quantity(pending, 'event')} {wait} for a tick: townctl event list {town.town_id} --pending"
    if town.events.poisoned:
        poisoned = quantity(town.events.poisoned, "event")
        yield f"{poisoned} failed permanently: townctl event list {town.town_id} --poisoned"
