"""`townctl doctor`: check a data directory or bucket for everything that can be wrong with it; it repairs nothing.

For each town it checks the head and its checksum, the structure of the database, every row and value, the journal, the
manifest against the image, violated invariants, poisoned events, the inbox and the due markers, every object of its history,
whether every commit was made by something that may commit, and whether the newest one is from the future. It also finds towns that
have lost their head, due markers and agent processes that belong to no town, and a clock that disagrees with the store's.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import agent_checks, agent_programs, history_checks, platform_tokens
from infra.townctl.context import Context, TheContext
from infra.townctl.forges import secret_files
from infra.townctl.output import FOUND, OK, Answer, plain, table
from infra.townctl.wording import quantity
from shared.adapters.clock import wait_for
from shared.adapters.local_processes import RunningAgent
from shared.domain import limits
from shared.domain.errors import AccessDenied, ClocksDisagree, Refused, TownError
from shared.domain.secret_texts import masked
from shared.domain.shapes import answer
from shared.domain.times import from_text, to_text
from shared.events import BY_TYPE
from shared.images import summary
from shared.images.pages import LARGE_IMAGE, LARGEST_IMAGE
from shared.intake import ingest
from shared.intake.unreadable import UNREADABLE
from shared.moving import checkup
from shared.ports.steps import drive
from shared.ports.town_store import TownImage
from shared.ports.waiting_room import DueMarker
from shared.questions import overview, rosters
from shared.questions.event_list import stored
from shared.questions.filters import EventFilter
from shared.questions.next_due import next_due
from shared.questions.snapshot import next_input
from shared.runner.clock_guard import from_the_future, lead_of
from shared.runner.neighbours import is_set_aside
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import database, migrations
from shared.town.town_keys import TownKeys, all_stored

_RESTORE: Final = (
    "copy the data directory, then restore the town to an earlier commit: `townctl points TOWN` lists them, "
    "`townctl restore TOWN --in-place --txid N` makes one of them the newest"
)
_LEAN: Final = "let ended beads leave for the archive sooner: the setting `archive`"
_LARGEST_SHOWN: Final = 3
_ENDING_SECONDS: Final = 2.0
_END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)


@answer
class Finding:
    """One thing that needs attention, and what to do about it. The town is `*` if it concerns all of them."""

    town_id: str
    check: str
    subject: str
    problem: str
    hint: str


@answer
class Checked:
    """The place and the towns that were checked, the number of their rows, and what needs attention."""

    data: str
    towns: tuple[str, ...]
    rows: int
    findings: tuple[Finding, ...]


def doctor(
    town_id: Annotated[str | None, Parameter(help="Only this town; default: every town.")] = None,
    /,
    *,
    stack: Annotated[
        str | None,
        Parameter(help="Check this CloudFormation stack instead, and send one event all the way through it."),
    ] = None,
    quick: Annotated[
        bool, Parameter(negative="", help="Leave out the past: older commits, journal objects, the archive, logs.")
    ] = False,
    context: TheContext,
) -> Answer:
    """Check everything: heads, images, every row, journals, inboxes, due markers, agent processes.

    Without --quick every object of each town is read, and its newest ticks run again, which takes as long as copying the towns.

    Nothing is changed, except that --stack creates the town `townctl-doctor` and posts an event to it.
    Exit code 1 if something needs attention.
    """
    if stack is not None:
        from infra.townctl import stack_doctor

        return stack_doctor.examine(stack_doctor.deployed(stack))
    store = context.store()
    headless = drive(store.headless())
    known = context.require_towns(store, *([] if town_id is None or town_id in headless else [town_id]))
    towns = (*known, *headless) if town_id is None else (town_id,)
    markers = drive(store.due(_END_OF_TIME))
    findings: list[Finding] = []
    rows = 0
    for each in towns:
        kept = context.kept_past(each)
        own = tuple(marker for marker in markers if marker.town_id == each)
        found, looked_at, image = _of_town(store, kept, own, context.clock.now())
        findings += found
        findings += [] if quick else _of_history(kept, image)
        rows += looked_at
    findings += _of_the_watch(store, towns)
    findings += _of_clock(context, store)
    findings += _of_agents(context, store, towns, known)
    findings += _of_program(context)
    findings += _of_platform_tokens(context, store, towns)
    if town_id is None:
        findings += _of_strangers(markers, towns)
    shown = tuple(replace(each, problem=masked(each.problem), hint=masked(each.hint)) for each in findings)
    checked = Checked(context.place, towns, rows, shown)
    return Answer(checked, _view(checked), FOUND if findings else OK)


def _of_town(
    store: ObjectTownStore, kept: KeptPast, markers: tuple[DueMarker, ...], now: datetime
) -> tuple[list[Finding], int, TownImage | None]:
    """The findings of the newest commit of a town, the number of rows that were checked, and its image, unless it is lost."""
    town_id = kept.town_id
    try:
        image = drive(store.load(town_id))
    except TownError as error:
        hint = history_checks.way_back(kept, error)
        lost = Finding(town_id, "head", type(error).__name__, error.message, hint)
        return [lost, *_of_inbox(store, town_id)], 0, None
    found, rows = _of_newest(store, image, markers, now)
    return found, rows, image


def _of_history(kept: KeptPast, image: TownImage | None) -> Iterator[Finding]:
    for each in history_checks.problems(kept, image):
        yield Finding(kept.town_id, each.check, each.subject, each.text, each.hint)


def _of_newest(
    store: ObjectTownStore, image: TownImage, markers: tuple[DueMarker, ...], now: datetime
) -> tuple[list[Finding], int]:
    """The findings of the newest image of a town, its inbox and its markers, and the number of rows that were checked."""
    town_id = image.town_id
    try:
        sql = database.open_image(image.image)
    except TownError as error:
        return [Finding(town_id, "image", type(error).__name__, error.message, error.hint)], 0
    try:
        database.check_identity(sql, town_id)
        with migrations.newest_schema(sql):
            found, rows = _of_image(sql, image)
        about = summary.before_tick(sql)
        found += _of_lead(image, now, own_clock=about.own_clock)
        due = next_due(image, next_input(sql, image.facts.tick_no, image.image_digest, at=now))
    except TownError as error:
        return [Finding(town_id, "identity", type(error).__name__, error.message, error.hint)], 0
    except Exception as error:  # noqa: BLE001 - the doctor must report even damage that no reader expects
        problem = f"the image cannot be read: {type(error).__name__}: {error}"
        return [Finding(town_id, "image", type(error).__name__, problem, _RESTORE)], 0
    finally:
        database.close(sql)
    found += _of_inbox(store, town_id)
    found += _of_markers(store, image, markers, now=now, interval=about.interval, due=due)
    return found, rows


def _of_clock(context: Context, store: ObjectTownStore) -> Iterator[Finding]:
    """The clock of this machine, if it disagrees with the store's. Only who may write to a directory can ask for its time."""
    with contextlib.suppress(AccessDenied):
        try:
            context.checked_time(store)
        except ClocksDisagree as error:
            yield Finding("*", "clock", context.place, error.message, error.hint)


def _of_lead(image: TownImage, now: datetime, *, own_clock: bool) -> Iterator[Finding]:
    """A newest commit from the future."""
    lead = None if own_clock else lead_of(image.facts.time, now=now)
    if lead is not None:
        error = from_the_future(image.town_id, image.facts.time, lead, own_clock=False)
        yield Finding(image.town_id, "clock", f"commit {image.txid}", error.message, error.hint)


def _of_image(sql: database.Database, image: TownImage) -> tuple[list[Finding], int]:
    """The findings of an open image, and the number of its rows."""
    structural = checkup.defects(sql)
    found = [Finding(image.town_id, p.check, p.subject, p.text, _RESTORE) for p in structural]
    if not any(problem.check == "integrity" for problem in structural):
        found += [*_of_manifest(image, dict(all_stored(sql))), *_of_state(image.town_id, sql), *_of_size(sql, image)]
    return found, sum(checkup.row_counts(sql).values())


def _of_manifest(image: TownImage, keys: dict[str, Any]) -> Iterator[Finding]:
    """Facts that differ between the manifest and the image."""
    facts = image.facts
    said: dict[str, Any] = {TownKeys.tick_no.name: facts.tick_no}
    if facts.tick_no and facts.by_tick:
        said |= {
            TownKeys.tick_id.name: facts.commit_id,
            TownKeys.last_tick_at.name: to_text(facts.time),
            TownKeys.next_due_at.name: None if facts.next_due is None else to_text(facts.next_due),
        }
    for key, value in said.items():
        if keys.get(key) != value:
            problem = f"{key} is {value} in the manifest and {keys.get(key)} in the image"
            yield Finding(image.town_id, "manifest", key, problem, _RESTORE)


def _of_size(sql: database.Database, image: TownImage) -> Iterator[Finding]:
    """An image that is on its way to the size that is refused, and what in it is large."""
    if image.size <= LARGE_IMAGE:
        return
    largest = [
        f"{table} {characters >> 20} MiB in {quantity(rows, 'row')}"
        for table, (rows, characters) in islice(checkup.content_sizes(sql).items(), _LARGEST_SHOWN)
    ]
    problem = f"the image has {image.size >> 20} MiB; one of {LARGEST_IMAGE >> 20} MiB is refused. Largest: {', '.join(largest)}"
    yield Finding(image.town_id, "size", image.town_id, problem, f"{_LEAN}; see docs/runbook/image-large.md")


def _of_state(town_id: str, sql: database.Database) -> Iterator[Finding]:
    for violation in overview.open_violations(sql):
        hint = f"see `townctl town status {town_id}`; rules repair what they can"
        yield Finding(town_id, f"invariant {violation.invariant}", violation.subject, violation.message, hint)
    poisoned = list(islice(stored(sql, EventFilter("poisoned")), limits.EVENTS_PER_TICK))
    for event in reversed(poisoned):
        hint = f"correct the cause, then: townctl event redrive {town_id} {event.event_id}"
        yield Finding(town_id, "poisoned event", event.event_id, event.last_error or "it failed permanently", hint)


def _of_inbox(store: ObjectTownStore, town_id: str) -> Iterator[Finding]:
    """Inbox objects that cannot be parsed as events."""
    for batch in drive(store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)).objects:
        for event in ingest.read_object(batch.key, batch.body, size=batch.size):
            if event.event_type == UNREADABLE:
                hint = "the next tick stores it as a poisoned event; find out what wrote it"
                yield Finding(town_id, "inbox", batch.key, "this object cannot be parsed as events", hint)


def _of_markers(
    store: ObjectTownStore,
    image: TownImage,
    markers: tuple[DueMarker, ...],
    *,
    now: datetime,
    interval: timedelta,
    due: datetime | None,
) -> Iterator[Finding]:
    """A missing marker: a town with work needs a due marker that is no later than the time of that work."""
    town_id, facts = image.town_id, image.facts
    wanted = due
    inbox = drive(store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)).objects
    received = [
        from_text(event.received_at)
        for batch in inbox
        for event in ingest.read_object(batch.key, batch.body, size=batch.size)
        if event.event_type not in BY_TYPE or not BY_TYPE[event.event_type].transient
    ]
    if received:
        # A faster clock may have left the town and its markers in the future.
        now = max(now, facts.time, *received)
        wanted = now if wanted is None else min(wanted, now)
    if wanted is None:
        return
    wanted = max(wanted, facts.time + interval)  # a town never ticks earlier than this
    if not any(marker.at <= wanted for marker in markers):
        if _is_being_ticked(store, image, wanted):
            return
        hint = f"run `townctl tick {town_id}`; a tick writes the marker again"
        yield Finding(
            town_id, "due marker", town_id, f"the town needs a tick at {to_text(wanted)} and has no due marker", hint
        )


def _is_being_ticked(store: ObjectTownStore, image: TownImage, wanted: datetime) -> bool:
    """Whether a running tick explains the missing marker: by now the marker exists, or the head has changed."""
    markers = drive(store.due(_END_OF_TIME))
    if any(marker.at <= wanted for marker in markers if marker.town_id == image.town_id):
        return True
    return drive(store.load(image.town_id)).etag != image.etag


def _of_agents(
    context: Context, store: ObjectTownStore, towns: tuple[str, ...], known: tuple[str, ...]
) -> list[Finding]:
    """Agent processes that no town expects to be working; a process that is ending gets two seconds to do so."""
    runtime = agent_programs.no_agents(context.data)

    def strangers() -> list[RunningAgent]:
        # Read the processes first: an agent is started after the commit that expects it.
        running = [agent for agent in runtime.running() if agent.town_id in towns or agent.town_id not in known]
        busy = {town_id: _busy(store, town_id) for town_id in known if any(a.town_id == town_id for a in running)}
        return [agent for agent in running if not _is_expected(agent, busy.get(agent.town_id, {}))]

    wait_for(lambda: not strangers(), seconds=_ENDING_SECONDS, every=0.25)
    return [
        Finding(
            agent.town_id,
            "agent process",
            agent.agent_id,
            f"process {agent.pid} (generation {agent.generation}) is running, but the town does not expect it",
            f"if it does not end within a minute: kill {agent.pid}",
        )
        for agent in strangers()
    ]


def _of_program(context: Context) -> Iterator[Finding]:
    """What keeps the program of local agents from working, if one is remembered. None is needed where agents run elsewhere."""
    try:
        program = agent_programs.remembered_program(context.data)
    except Refused as error:
        yield Finding("*", "agent program", str(context.data), error.message, error.hint)
        return
    for found in agent_checks.problems(program) if program.command else ():
        yield Finding("*", found.check, found.subject, found.said, found.hint)


def _of_platform_tokens(context: Context, store: ObjectTownStore, towns: tuple[str, ...]) -> Iterator[Finding]:
    """Tokens of the platform that serve every town, and secrets that cannot be used."""

    def readable() -> Iterator[rosters.TownSettings]:
        for town_id in towns:
            with contextlib.suppress(Exception):  # whatever is wrong with the town, its own check has found it
                yield drive(rosters.settings(town_id, store))

    for each in platform_tokens.unsafe(secret_files(context.data), readable):
        yield Finding("*", "secret", each.name, each.problem, each.hint)


def _of_the_watch(store: ObjectTownStore, towns: tuple[str, ...]) -> Iterator[Finding]:
    """Towns that are not run with the others, and objects of the watch that cannot be read."""
    found = drive(store.watched())
    for town_id in towns:
        record = found.apart.get(town_id)
        if is_set_aside(record):
            hint = f"correct the cause (the memory of the machine, for example), then: townctl town resume {town_id}"
            yield Finding(town_id, "set aside", town_id, "it is not run, because its runs ended their processes", hint)
        elif record is not None and not record.orderly:
            problem = "it runs apart from other towns, because a process that ran it ended in the middle of a run"
            hint = "a run of its own that ends well puts this right; if it does not, look at the memory of this machine"
            yield Finding(town_id, "runs apart", town_id, problem, hint)
    for key in found.unreadable:
        name = key.rpartition("/")[2]
        yield Finding(
            name, "watch", key, "it cannot be read", f"`townctl town resume {name}` removes it, or delete the object"
        )


def _is_expected(agent: RunningAgent, busy: Mapping[str, int | None]) -> bool:
    return agent.agent_id in busy and busy[agent.agent_id] in (None, agent.generation)


def _busy(store: ObjectTownStore, town_id: str) -> dict[str, int | None]:
    try:
        image = drive(store.load(town_id))
        sql = database.open_image(image.image)
    except TownError:
        return {}  # the damaged head is already a finding
    try:
        return checkup.busy_agents(sql)
    finally:
        database.close(sql)


def _of_strangers(markers: tuple[DueMarker, ...], known: tuple[str, ...]) -> Iterator[Finding]:
    for marker in markers:
        if marker.town_id not in known:
            problem = "this due marker belongs to a town that does not exist"
            yield Finding(marker.town_id, "due marker", marker.key, problem, "the next `townctl run` deletes it")


def _view(checked: Checked) -> Iterator[RenderableType]:
    if checked.findings:
        columns = ("town", "check", "what", "problem", "what to do")
        cells = [(f.town_id, f.check, f.subject, f.problem, f.hint) for f in checked.findings]
        yield table(*columns, rows=cells)
    found = quantity(len(checked.findings), "finding") if checked.findings else "nothing is wrong"
    yield Text(plain(f"checked {', '.join(checked.towns) or 'no town'} ({quantity(checked.rows, 'row')}): {found}"))
