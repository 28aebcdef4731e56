"""`townctl explain`: the life of one bead or agent as a story, and why it waits."""

from collections.abc import Iterator
from typing import Annotated, Final

from cyclopts import App, Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.answers import Answer, plain, shortened, table
from infra.townctl.desk import Desk, TheDesk, time_of
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.questions import explain as lives
from shared.questions.explain import Explanation
from shared.questions.lives import meant
from shared.questions.story import StoryEntry
from shared.questions.waits import CurrentWait, SubjectKind
from shared.storage.towns import ObjectTownStore
from shared.town import database

app = App(name="explain", help="Tell the life of one bead or agent, and why it waits.")

Town = Annotated[
    str | None,
    Parameter(name="--town", help="The town's id; may be left out where there is only one town."),
]
At = Annotated[str | None, Parameter(help="As it was at that time: 2026-01-10T12:00:00Z.")]

BeadId = Annotated[str, Parameter(help="Its id, or as much of the beginning as no other bead has.")]
AgentId = Annotated[str, Parameter(help="Its id, as much of the beginning as no other agent has, or its name.")]

_AHEAD: Final = 8
_MEANT: Final = 5


@app.command
def bead(bead_id: BeadId, town_id: Town = None, *, at: At = None, desk: TheDesk) -> Answer:
    """Tell the life of a bead: every event, rule, action and effect, and what it waits for.

    The town is `--town TOWN` or the word behind the id.
    """
    return _told("bead", bead_id, town_id, at, desk)


@app.command
def agent(agent_id: AgentId, town_id: Town = None, *, at: At = None, desk: TheDesk) -> Answer:
    """Tell the life of an agent: what it worked on, what would take it away, why it gets no work.

    The town is `--town TOWN` or the word behind the id.
    """
    return _told("agent", agent_id, town_id, at, desk)


def _told(kind: SubjectKind, word: str, town_id: str | None, at: str | None, desk: Desk) -> Answer:
    moment = time_of(at, what="at")
    store, objects = desk.store(), desk.kept()
    town_id = town_id or _only_town(drive(store.towns()))
    now = desk.clock_of(store, town_id).now()
    subject = _the_one(store, town_id, kind, word)
    tell = lives.explain_bead if kind == "bead" else lives.explain_agent
    found = drive(tell(town_id, subject, StoredPast(objects, objects), now=now, at=moment))
    return Answer(found.as_json(), tuple(view(found)))


def _the_one(store: ObjectTownStore, town_id: str, kind: SubjectKind, word: str) -> str:
    """The id that a word stands for; the word itself if the town of today knows none. Raises Refused if it knows several."""
    with database.opened(drive(store.load(town_id)).image) as sql:
        ids = meant(sql, word, is_agent=kind == "agent", limit=_MEANT)
    if len(ids) > 1:
        problem = f"{word} may be {', '.join(ids)}" + (" and others" if len(ids) == _MEANT else "")
        raise Refused(problem, status=400, path=kind, hint="give more of the id")
    return ids[0] if ids else word


def view(found: Explanation) -> Iterator[RenderableType]:
    """A life for people; ids are short, and `--json` has them whole."""
    title = f"{found.kind} {found.subject} of {found.town_id}"
    rows = [
        (entry.tick, to_text(entry.time), _who(entry), shortened(entry.what), _came_of_it(entry))
        for entry in found.story
    ]
    yield table("tick", "at", "by", "what", "outcome", rows=rows, title=title)
    if found.signs_of_life:
        yield Text(f"signs of life: {found.signs_of_life}, of which the last one of each agent is shown")
    for note in found.notes:
        yield Text(plain(note))
    if found.now is None:
        yield Text(f"the {found.kind} is no longer in the town")
    else:
        yield from _now(found, found.now)


def _who(entry: StoryEntry) -> str:
    """The rule, or the event that asked for the action; else the kind of entry, and its sentence says the rest."""
    says_the_rest = entry.by == "observed" or (entry.by != "rule" and entry.what.startswith(entry.code))
    return entry.by if says_the_rest else entry.code


def _came_of_it(entry: StoryEntry) -> str:
    return ": ".join(shortened(each) for each in dict.fromkeys((entry.outcome, entry.reason)) if each)


def _now(found: Explanation, now: CurrentWait) -> Iterator[RenderableType]:
    waits = "" if now.reason is None else f", waits: {now.reason}"
    yield Text(plain(f"at {to_text(now.at)} it is {found.row['status']}{waits}"), style="bold")
    for line in now.says:
        yield Text(plain(shortened(line)))
    due = "only an event can change that" if now.due_at is None else f"due {to_text(now.due_at)}"
    yield Text(f"next rule: {now.rule or 'none'}; {due}")
    yield table(
        "guard",
        "since",
        "until",
        "who",
        "meaning",
        rows=[
            (
                each.name,
                each.since and to_text(each.since),
                each.until and to_text(each.until),
                each.actor,
                shortened(each.says),
            )
            for each in now.guards
        ],
    )
    if now.cause is not None:
        cause = now.cause
        at = "before the journal" if cause.tick is None else f"tick {cause.tick}"
        source = "" if cause.source is None else f" ({cause.source})"
        yield Text(plain(shortened(f"because of {cause.code}{source} at {at}, {to_text(cause.time)}: {cause.what}")))
    for event in now.events:
        state = event.outcome or "pending"
        yield Text(
            plain(f"event {event.event_id} ({event.event_type}) is {state}: {event.last_error or 'not tried yet'}")
        )
    if now.comes:
        rows = [
            (act.rule, to_text(act.at), act.action["type"], act.promised and act.promised.wait)
            for act in now.comes[:_AHEAD]
        ]
        yield table("rule", "due", "action", "guard", rows=rows, title="what comes if nothing else happens")


def _only_town(towns: tuple[str, ...]) -> str:
    if len(towns) == 1:
        return towns[0]
    known = ", ".join(towns[:10]) or "none"
    raise Refused("say which town", status=400, path="town", hint=f"add --town TOWN; there are: {known}")
