"""`townctl explain`: the history of one bead or agent, and why it waits."""

from collections.abc import Iterator
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import time_of
from infra.townctl.output import Answer, plain, shortened, table
from infra.townctl.paging import the_one
from infra.townctl.place import Place, Subject, ThePlace
from infra.townctl.wording import quantity
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.questions.explain import Explanation
from shared.questions.present import CurrentWait
from shared.questions.spend import spend_words
from shared.questions.story import StoryEntry
from shared.questions.waiting import Waiting

TownOption = Annotated[
    str | None,
    Parameter(name="--town", help="The town's id; optional if there is only one town."),
]
At = Annotated[str | None, Parameter(help="Show the state at this time: 2026-01-10T12:00:00Z.")]

BeadId = Annotated[str, Parameter(help="The bead's id, or a prefix that no other bead has.")]
AgentId = Annotated[str, Parameter(help="The agent's id, a prefix that no other agent has, or the agent's name.")]

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
    moment = time_of(at, what="at")
    town_id = only_town(place.town_ids()) if town_id is None else town_id
    found = place.explain(town_id, kind, the_one(place, town_id, kind, word), moment)
    return Answer(found, view(found))


def view(found: Explanation) -> Iterator[RenderableType]:
    """A history for people, with shortened ids; `--json` has the full ones."""
    title = f"{found.kind} {found.id} of {found.town_id}"
    rows = [
        (entry.tick, to_text(entry.time), _who(entry), shortened(entry.what), _came_of_it(entry))
        for entry in found.story
    ]
    yield table("tick", "at", "by", "what", "outcome", rows=rows, title=title)
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
        yield from _now(found, found.now)


def _who(entry: StoryEntry) -> str:
    """The rule or event that asked for the action; if the entry's text already names it, the kind of the entry."""
    says_the_rest = entry.by == "observed" or (entry.by != "rule" and entry.what.startswith(entry.code))
    return entry.by if says_the_rest else entry.code


def _came_of_it(entry: StoryEntry) -> str:
    return ": ".join(shortened(each) for each in dict.fromkeys((entry.outcome, entry.reason)) if each)


def _now(found: Explanation, now: CurrentWait) -> Iterator[RenderableType]:
    waits = "" if now.reason is None else f" and waits: {now.reason} since {to_text(now.since)}"
    yield Text(plain(f"at {to_text(now.at)} it is {(found.row or {}).get('status')}{waits}"), style="bold")
    for line in (*now.says, *_place(now)):
        yield Text(plain(shortened(line)))
    due = "only after an event" if now.due_at is None else f"due {to_text(now.due_at)}"
    yield Text(f"next rule: {now.rule or 'none'}; {due}")
    yield table(
        "guard",
        "since",
        "until",
        "who",
        "meaning",
        rows=[
            (
                each.guard,
                each.since and to_text(each.since),
                each.until and to_text(each.until),
                each.actor,
                shortened(each.says),
            )
            for each in now.guards
        ],
    )
    if now.needs:
        needs = [(need.event_type, need.bead_id, ", ".join(need.senders) or "the town itself") for need in now.needs]
        yield table("event", "about", "from", rows=needs, title="events that would change it")
    if now.cause is not None:
        cause = now.cause
        at = "before the journal" if cause.tick is None else f"tick {cause.tick}"
        source = "" if cause.source is None else f" ({cause.source})"
        yield Text(plain(shortened(f"because of {cause.code}{source} at {at}, {to_text(cause.time)}: {cause.what}")))
    for event in now.events:
        yield Text(plain(f"event {event.event_id} ({event.type}) is {event.outcome}: {event.error or 'not tried yet'}"))
    if now.comes:
        rows = [(act.rule, to_text(act.due_at), act.action["type"], act.guard) for act in now.comes[:_AHEAD]]
        yield table("rule", "due", "action", "guard", rows=rows, title="next actions if nothing else happens")


def _place(waiting: Waiting) -> Iterator[str]:
    """The root of the chain of beads that a row waits for, and the row's place in a queue."""
    root = waiting.root
    if root is not None and root.steps > 1:
        others = "" if root.roots == 1 else f", the first of {root.roots} roots"
        due = "" if root.due_at is None else f" until {to_text(root.due_at)}"
        why = "" if root.reason is None else f" and waits: {root.reason}{due}"
        yield f"the root of its wait is {root.bead_id}, {root.steps} steps away{others}: it is {root.status}{why}"
    if waiting.queue is not None:
        now = ", ".join(each.bead_id for each in waiting.queue.now) or "nothing"
        yield f"it is number {waiting.queue.position} of {waiting.queue.length}; now in progress: {now}"


def only_town(towns: tuple[str, ...]) -> str:
    """The town, if there is exactly one. Raises Refused."""
    if len(towns) == 1:
        return towns[0]
    known = ", ".join(towns[:10]) or "none"
    raise Refused(
        "--town is required unless there is exactly one town", status=400, path="town", hint=f"the towns are: {known}"
    )
