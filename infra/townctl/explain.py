"""`townctl explain`: the history of one bead or agent, and why it waits."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import people
from infra.townctl.arguments import AgentId, BeadId, past_time_of
from infra.townctl.left_out import in_order
from infra.townctl.output import Answer, plain, table
from infra.townctl.paging import own_clock_note, the_one
from infra.townctl.people import needs_a_person, when
from infra.townctl.place import Place, Subject, ThePlace
from infra.townctl.wording import quantity
from infra.ui.remedies import remedies_of
from infra.ui.short_ids import shortened
from infra.ui.words import reason_word
from shared.questions.explain import Explanation
from shared.questions.present import CurrentWait
from shared.questions.spend import spend_words
from shared.questions.story import StoryEntry
from shared.questions.waiting import Waiting

TownOption = Annotated[
    str | None,
    Parameter(name="--town", help="The town's id; needed only where several towns have this id."),
]
At = Annotated[str | None, Parameter(help="Show the state at this time: 2026-01-10T12:00:00Z, or how long ago: 1h.")]

_AHEAD: Final = 8


def bead(bead_id: BeadId, town_id: TownOption = None, *, at: At = None, place: ThePlace) -> Answer:
    """Show the history of a bead: every event, rule, action and effect, and what it waits for.

    Give the town as `--town TOWN` or as a second argument.
    """
    return _explained("bead", bead_id, town_id, at, place)


def agent(agent_id: AgentId, town_id: TownOption = None, *, at: At = None, place: ThePlace) -> Answer:
    """Show the history of an agent: what it worked on, what would remove it, and why it gets no work.

    Give the town as `--town TOWN` or as a second argument.
    """
    return _explained("agent", agent_id, town_id, at, place)


def _explained(kind: Subject, word: str, town_id: str | None, at: str | None, place: Place) -> Answer:
    word, town_id = in_order(place, word, town_id, (kind,))
    moment = None if at is None else past_time_of(at, what="at", now=partial(place.now, town_id))
    found = place.explain(town_id, kind, the_one(place, town_id, kind, word), moment)
    names = {agent.agent_id: people.agent_name(agent.identity) for agent in place.agents(town_id).agents}
    return Answer(found, (*view(found, names), *own_clock_note(_as_of(found))))


def view(found: Explanation, names: Mapping[str, str]) -> Iterator[RenderableType]:
    """A history for people, with the names of agents and shortened ids; `--json` has the full ones."""
    own = names.get(found.id) or (found.row or {}).get("title")
    title = f"{found.kind} {found.id} of {found.town_id}" + (f": {own}" if own else "")
    now = _as_of(found)
    yield table("tick", "when", "by", "what", "outcome", rows=list(_story_rows(found, names, now)), title=plain(title))
    if found.signs_of_life:
        heartbeats = quantity(found.signs_of_life, "heartbeat or status event", "heartbeats and status events")
        yield Text(f"{heartbeats}; the last one of each agent is shown")
    for note in found.notes:
        yield Text(plain(note))
    if found.used is not None:
        of_what = "its newest start" if found.kind == "agent" else "work on it"
        yield Text(f"{of_what} used {spend_words(found.used)}")
    if found.last_lines is not None:
        last = found.last_lines
        yield Text(
            plain(f"the last lines of {last.agent_id}, generation {last.generation} (`townctl logs` shows more):")
        )
        yield from (Text(f"  {plain(line)}") for line in last.lines)
    if found.gone is not None:
        yield Text(plain(found.gone.says))
    if found.now is not None:
        yield from _now(found, found.now, names)


def _as_of(found: Explanation) -> datetime:
    """The time that the answer is about; without a tick, the end of its story."""
    if found.now is not None:
        return found.now.at
    return found.as_of.time or max(entry.time for entry in found.story)


def _story_rows(found: Explanation, names: Mapping[str, str], now: datetime) -> Iterator[tuple[object, ...]]:
    """The story, with the starts of agents on a bead numbered."""
    starts = 0
    for entry in found.story:
        what = named(entry.what, names)
        if entry.by == "rule" and entry.outcome == "applied" and entry.what.startswith("dispatch_agent"):
            starts += 1
            what = f"{what} (start {starts} of this bead)"
        outcome = named(_came_of_it(entry), names)
        colour = "red" if entry.by == "invariant" or entry.outcome in ("failed", "rejected", "poisoned") else ""
        yield entry.tick, when(entry.time, now), _who(entry), what, Text(plain(outcome), style=colour)


def named(text: str, names: Mapping[str, str]) -> str:
    """A text with the names of agents in place of their ids, and with other ids shortened."""
    for identifier, name in names.items():
        text = re.sub(rf"(?<![\w-]){re.escape(identifier)}(?![\w-])", lambda _, name=name: name, text)  # type: ignore[misc] # bound
    return shortened(text)


def _who(entry: StoryEntry) -> str:
    """The rule or event that asked for the action; if the entry's text already names it, the kind of the entry."""
    says_the_rest = entry.by == "observed" or (entry.by != "rule" and entry.what.startswith(entry.code))
    return entry.by if says_the_rest else entry.code


def _came_of_it(entry: StoryEntry) -> str:
    return ": ".join(shortened(each) for each in dict.fromkeys((entry.outcome, entry.reason)) if each)


def _now(found: Explanation, now: CurrentWait, names: Mapping[str, str]) -> Iterator[RenderableType]:
    reason = now.reason
    why = "" if reason is None else f", {reason_word(reason).text} ({reason}), since {when(now.since, now.at)}"
    status = str((found.row or {}).get("status"))
    word = people.state(status, people.BEADS if found.kind == "bead" else people.AGENTS).plain
    yield Text(plain(f"now: {word}{why}"), style="bold")
    for line in (*now.says, *_place(now, now.at)):
        yield Text(plain(named(line, names)))
    due = "only after an event" if now.due_at is None else f"due {when(now.due_at, now.at)}"
    yield Text(f"next rule: {now.rule or 'none'}; {due}")
    yield table("what holds it back", "since", "ends", "who can end it", "guard", rows=list(_guards(found, now, names)))
    yield from _helps(found, now, names)
    if now.needs:
        needs = [
            (need.event_type, _name(need.bead_id, names), need.setting, ", ".join(need.senders) or "the town itself")
            for need in now.needs
        ]
        yield table("event", "about", "setting", "from", rows=needs, title="events that would change it")
    if now.cause is not None:
        cause = now.cause
        at = "before the journal" if cause.tick is None else f"tick {cause.tick}"
        source = "" if cause.source is None else f" ({cause.source})"
        by = at if cause.code == at else f"{cause.code}{source} at {at}"
        yield Text(plain(named(f"because of {by}, {when(cause.time, now.at)}: {cause.what}", names)))
    for event in now.events:
        yield Text(plain(f"event {event.event_id} ({event.type}) is {event.outcome}: {event.error or 'not tried yet'}"))
    if now.comes:
        rows = [(act.rule, when(act.due_at, now.at), act.action["type"], act.guard) for act in now.comes[:_AHEAD]]
        yield table("rule", "due", "action", "guard", rows=rows, title="next actions if nothing else happens")


def _guards(found: Explanation, now: CurrentWait, names: Mapping[str, str]) -> Iterator[tuple[object, ...]]:
    """What holds it back, with who can end it: a person by name of the act, if only a person can."""
    only_people = needs_a_person(now) or now.reason is None
    first = next(iter(remedies_of(now, found.town_id)), None) if only_people else None
    for at, guard in enumerate(now.guards):
        who = _who_ends(guard.actor, names)
        if at == 0 and first is not None and guard.until is None:
            who = f"{first.who} can {people.done(first, {**names, found.id: 'it'})}"
        yield (
            named(guard.says, names),
            guard.since and when(guard.since, now.at),
            guard.until and when(guard.until, now.at),
            who,
            guard.guard,
        )


def _who_ends(actor: str | None, names: Mapping[str, str]) -> str | None:
    if actor is None:
        return None
    known = {"operator": "you", "reviewer": "a reviewer", "forge": "the forge", "refinery": "a refinery"}
    return known.get(actor) or ", ".join(_name(each, names) for each in actor.split(", "))


def _helps(found: Explanation, now: CurrentWait, names: Mapping[str, str]) -> Iterator[Text]:
    """What a person can do, with the commands."""
    remedies = remedies_of(now, found.town_id)
    if not remedies:
        return
    yield Text("what you can do:", style="bold")
    for remedy in remedies:
        does = people.done(remedy, names)
        yield Text(plain(f"  {does}: {remedy.command}" if remedy.command else f"  {remedy.who} can {does}"))
    if found.last_lines is not None and now.reason is None:
        yield Text("  reopened, it fails again unless the cause of the lines above is mended", style="dim")


def _name(identifier: str | None, names: Mapping[str, str]) -> str:
    return "" if identifier is None else people.name_of(identifier, names)


def _place(waiting: Waiting, waiting_at: datetime) -> Iterator[str]:
    """The root of the chain of beads that a row waits for, and the row's place in a queue."""
    root = waiting.root
    if root is not None and root.steps > 1:
        others = "" if root.roots == 1 else f", the first of {root.roots} roots"
        due = "" if root.due_at is None else f", due {when(root.due_at, waiting_at)}"
        why = "" if root.reason is None else f" and waits: {root.reason}{due}"
        yield f"the root of its wait is {root.bead_id}, {root.steps} steps away{others}: it is {root.status}{why}"
    if waiting.queue is not None:
        now = ", ".join(each.bead_id for each in waiting.queue.now) or "nothing"
        yield f"it is number {waiting.queue.position} of {waiting.queue.length}; now in progress: {now}"
