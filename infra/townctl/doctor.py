"""`townctl doctor`: everything that can be wrong with a data directory, looked at once; nothing is repaired.

Of each town: the head and its seal, the database's structure, every row and value, the journal, what the manifest says
against what the image says, broken invariants, poisoned events, the inbox, the due markers. Of the directory: markers
and agent processes that belong to nobody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import wiring
from infra.townctl.answers import FOUND, OK, Answer, plain, table
from infra.townctl.desk import Desk, TheDesk
from shared.adapters.clock import wait_for
from shared.adapters.local_processes import RunningAgent
from shared.domain import limits
from shared.domain.errors import TownError
from shared.domain.times import from_text, to_text
from shared.events import BY_TYPE
from shared.images import summary
from shared.intake import ingest
from shared.moving import checkup
from shared.ports.steps import drive
from shared.ports.town_store import DueMarker, TownImage
from shared.questions import overview
from shared.storage.towns import ObjectTownStore
from shared.town import database, town_keys

_RESTORE: Final = "keep a copy of the data directory and restore the town to an earlier commit"
_ENDING_SECONDS: Final = 2.0
_END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should look at, and what to do about it."""

    town_id: str
    check: str
    subject: str
    problem: str
    hint: str


def doctor(
    town_id: Annotated[str | None, Parameter(help="Only this town; else every town of the directory.")] = None,
    /,
    *,
    stack: Annotated[
        str | None,
        Parameter(help="Look at this CloudFormation stack instead: can it work, and does it, once all the way?"),
    ] = None,
    desk: TheDesk,
) -> Answer:
    """Look at everything: heads, images, every row, journals, inboxes, due markers, agent processes.

    Nothing is changed, but with --stack a town `townctl-doctor` is made and given an event. Exit code 1 if something was found.
    """
    if stack is not None:
        from infra.townctl import stack_doctor

        return stack_doctor.examine(stack_doctor.deployed(stack))
    store = desk.store()
    known = drive(store.towns())
    if town_id is not None and town_id not in known:
        drive(store.load(town_id))  # says what is wrong with the name
    towns = known if town_id is None else (town_id,)
    markers = drive(store.due(_END_OF_TIME))
    findings: list[Finding] = []
    rows = 0
    for each in towns:
        found, looked_at = _of_town(store, each, tuple(m for m in markers if m.town_id == each), desk.clock.now())
        findings += found
        rows += looked_at
    findings += _of_agents(desk, store, towns, known)
    if town_id is None:
        findings += _of_strangers(markers, known)
    document = {"data": desk.place, "towns": list(towns), "rows": rows, "findings": [asdict(f) for f in findings]}
    return Answer(document, tuple(_view(towns, rows, findings)), FOUND if findings else OK)


def _of_town(
    store: ObjectTownStore, town_id: str, markers: tuple[DueMarker, ...], now: datetime
) -> tuple[list[Finding], int]:
    """The findings of one town, and how many rows were looked at."""
    try:
        image = drive(store.load(town_id))
    except TownError as error:
        return [Finding(town_id, "head", type(error).__name__, error.message, error.hint)], 0
    try:
        sql = database.open_image(image.image)
    except TownError as error:
        return [Finding(town_id, "image", type(error).__name__, error.message, error.hint)], 0
    try:
        database.check_identity(sql, town_id)
        structural = checkup.defects(sql)
        found = [Finding(town_id, p.check, p.subject, p.text, _RESTORE) for p in structural]
        if not any(problem.check == "integrity" for problem in structural):
            found += [*_of_manifest(image, town_keys.all_values(sql)), *_of_state(town_id, sql)]
        rows = sum(checkup.row_counts(sql).values())
        interval = summary.before_tick(sql).interval
    except TownError as error:
        return [Finding(town_id, "identity", type(error).__name__, error.message, error.hint)], 0
    except Exception as error:  # noqa: BLE001 - a doctor reports what no reader was made for
        return [
            Finding(
                town_id, "image", type(error).__name__, f"it cannot be read: {type(error).__name__}: {error}", _RESTORE
            )
        ], 0
    finally:
        database.close(sql)
    found += _of_inbox(store, town_id)
    found += _of_markers(store, image, markers, now=now, interval=interval)
    return found, rows


def _of_manifest(image: TownImage, keys: dict[str, Any]) -> Iterator[Finding]:
    """What the manifest says of the image against what the image says of itself."""
    facts = image.facts
    said: dict[str, Any] = {"tick_no": facts.tick_no}
    if facts.tick_no and facts.by_tick:
        said |= {
            "tick_id": facts.commit_id,
            "last_tick_at": to_text(facts.time),
            "next_due_at": None if facts.next_due is None else to_text(facts.next_due),
        }
    for key, value in said.items():
        if keys.get(key) != value:
            problem = f"the manifest says {key} {value}, the image {keys.get(key)}"
            yield Finding(image.town_id, "manifest", key, problem, _RESTORE)


def _of_state(town_id: str, sql: database.Database) -> Iterator[Finding]:
    for violation in overview.open_violations(sql):
        hint = "see `townctl town status`; rules repair what they can"
        yield Finding(town_id, f"invariant {violation.invariant}", violation.subject, violation.message, hint)
    for event in overview.events(sql, "poisoned", limit=limits.EVENTS_PER_TICK):
        hint = f"correct the cause, then: townctl event redrive {town_id} {event.event_id}"
        yield Finding(town_id, "poisoned event", event.event_id, event.last_error or "it failed for good", hint)


def _of_inbox(store: ObjectTownStore, town_id: str) -> Iterator[Finding]:
    """Objects that no tick will be able to read."""
    for batch in drive(store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)).objects:
        for event in ingest.read_object(batch.key, batch.body):
            if event.event_type == ingest.UNREADABLE:
                hint = "the next tick sets it aside as a poisoned event; find out who wrote it"
                yield Finding(town_id, "inbox", batch.key, "this object cannot be read as events", hint)


def _of_markers(
    store: ObjectTownStore,
    image: TownImage,
    markers: tuple[DueMarker, ...],
    *,
    now: datetime,
    interval: timedelta,
) -> Iterator[Finding]:
    """A town with something to do has a marker not later than it."""
    town_id, facts = image.town_id, image.facts
    wanted = facts.next_due
    inbox = drive(store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)).objects
    received = [
        from_text(event.received_at)
        for batch in inbox
        for event in ingest.read_object(batch.key, batch.body)
        if event.event_type not in BY_TYPE or not BY_TYPE[event.event_type].transient
    ]
    if received:
        # A faster clock may have left the town in the future, with its markers.
        now = max(now, facts.time, *received)
        wanted = now if wanted is None else min(wanted, now)
    if wanted is None:
        return
    wanted = max(wanted, facts.time + interval)  # ticks of a town keep their distance, whatever it wants
    if not any(marker.at <= wanted for marker in markers):
        if _is_being_ticked(store, image, wanted):
            return
        hint = f"townctl tick {town_id} (a tick sets its marker again)"
        yield Finding(town_id, "due marker", town_id, f"it wants a tick at {to_text(wanted)} and has no marker", hint)


def _is_being_ticked(store: ObjectTownStore, image: TownImage, wanted: datetime) -> bool:
    """Whether the marker was only on its way: it is there now, or the town has moved on."""
    markers = drive(store.due(_END_OF_TIME))
    if any(marker.at <= wanted for marker in markers if marker.town_id == image.town_id):
        return True
    return drive(store.load(image.town_id)).etag != image.etag


def _of_agents(desk: Desk, store: ObjectTownStore, towns: tuple[str, ...], known: tuple[str, ...]) -> list[Finding]:
    """Agent processes that no town believes to be at work; one that is just ending gets a moment to do so."""
    runtime = wiring.NoAgentProgram(wiring.agents_root(desk.data))

    def strangers() -> list[RunningAgent]:
        # Processes first: an agent is started after the commit that expects it.
        running = [agent for agent in runtime.running() if agent.town_id in towns or agent.town_id not in known]
        busy = {town_id: _busy(store, town_id) for town_id in known if any(a.town_id == town_id for a in running)}
        return [agent for agent in running if not _is_expected(agent, busy.get(agent.town_id, {}))]

    wait_for(lambda: not strangers(), seconds=_ENDING_SECONDS, every=0.25)
    return [
        Finding(
            agent.town_id,
            "agent process",
            agent.agent_id,
            f"process {agent.pid} of generation {agent.generation} runs, and the town does not expect it",
            f"if it does not end within a minute: kill {agent.pid}",
        )
        for agent in strangers()
    ]


def _is_expected(agent: RunningAgent, busy: Mapping[str, int | None]) -> bool:
    return agent.agent_id in busy and busy[agent.agent_id] in (None, agent.generation)


def _busy(store: ObjectTownStore, town_id: str) -> dict[str, int | None]:
    try:
        image = drive(store.load(town_id))
        sql = database.open_image(image.image)
    except TownError:
        return {}  # its head is a finding already
    try:
        return checkup.busy_agents(sql)
    finally:
        database.close(sql)


def _of_strangers(markers: tuple[DueMarker, ...], known: tuple[str, ...]) -> Iterator[Finding]:
    for marker in markers:
        if marker.town_id not in known:
            problem = "a due marker of a town that does not exist"
            yield Finding(marker.town_id, "due marker", marker.key, problem, "the next `townctl run` removes it")


def _view(towns: tuple[str, ...], rows: int, findings: list[Finding]) -> Iterator[RenderableType]:
    if findings:
        columns = ("town", "check", "what", "problem", "what to do")
        cells = [(f.town_id, f.check, f.subject, f.problem, f.hint) for f in findings]
        yield table(*columns, rows=cells)
    found = f"{len(findings)} to look at" if findings else "nothing is wrong"
    yield Text(plain(f"looked at {', '.join(towns) or 'no town'} ({rows} rows): {found}"))
