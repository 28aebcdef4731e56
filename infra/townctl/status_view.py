"""The status of a town for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from infra.townctl.output import plain, short, table, time_text
from infra.townctl.wording import quantity
from shared.domain.times import to_text
from shared.questions.spend import spend_words

if TYPE_CHECKING:
    from shared.questions.status import TownStatus
    from shared.questions.waiting import Waiting


def status_view(town: TownStatus) -> Iterator[RenderableType]:
    """The lines and tables of a status: current work, waiting beads, problems."""
    base = town.as_of
    yield Text(f"{town.town_id}: tick {base.tick} at {to_text(base.time)}; {_wake(town)}")
    for claim in _claims(town):
        yield Text(claim)
    if town.spend:
        yield table("day (UTC)", "used", rows=[(each.day, spend_words(each.spend)) for each in town.spend])
    if town.agents:
        yield table("agent", "role", "status", "works on", "used", "says", rows=_agent_rows(town))
    if town.beads:
        yield table("bead", "type", "status", "title", "waits for", rows=_bead_rows(town))
    if town.failed:
        yield table("failed bead", "type", "at", "title", "why", rows=_failed_rows(town))
    if town.refused_by_forge:
        rows = [(short(line.bead_id), line.effect, time_text(line.at), line.said) for line in town.refused_by_forge]
        yield table("review", "call", "at", "refused by the forge", rows=rows)
    if town.abandoned:
        yield table("abandoned by", "at", "pull request", "why", rows=_abandoned_rows(town))
    if town.convoys:
        yield table("convoy", "state", "done", "used", "title", rows=_convoy_rows(town))
    if town.unread_mail:
        yield table("unread mail", "to", "since", "title", "delivery requested", rows=_mail_rows(town))
    if town.mayor_said:
        yield table("the mayor said at", "in reply to", "text", rows=_said_rows(town))
    yield from _warnings(town)


def _warnings(town: TownStatus) -> Iterator[RenderableType]:
    if town.merges_unproven:
        yield Text(f"merges accepted on a refinery's word, because nothing could check them: {town.merges_unproven}")
    for broken in town.violations:
        yield Text(plain(f"violation {broken.invariant} since {time_text(broken.opened_at)}: {broken.message}"))
    for row in town.unreadable:
        yield Text(plain(f"unreadable: {row.table} {row.key}: {row.problem}"))


def _agent_rows(town: TownStatus) -> Iterator[tuple[object, ...]]:
    titles = {bead.bead_id: bead.title for bead in town.beads}
    for agent in town.agents:
        name, works_on = agent.identity.partition("-")[0], titles.get(agent.hook or "", agent.hook)
        yield name, agent.role, agent.status, works_on, spend_words(agent.used), agent.says


def _bead_rows(town: TownStatus) -> Iterator[tuple[object, ...]]:
    reasons = {reason.bead_id: reason for reason in town.waiting}
    for bead in town.beads:
        reason = reasons.get(bead.bead_id)
        yield short(bead.bead_id), bead.type, bead.status, bead.title, None if reason is None else waits_for(reason)


def waits_for(waiting: Waiting) -> str:
    """Why a bead waits, in one cell of a table: the reason, who can end it, until when, its place in a queue, and its root."""
    actor = "" if waiting.actor is None else f" ({short(waiting.actor)})"
    until = "" if waiting.due_at is None else f" until {to_text(waiting.due_at)}"
    place = "" if waiting.queue is None else f", number {waiting.queue.position} of {waiting.queue.length}"
    root = waiting.root
    end = "" if root is None or root.steps == 1 else f", root {short(root.bead_id)}: {root.reason or root.status}"
    return f"{waiting.reason}{actor}{until}{place}{end}"


def _failed_rows(town: TownStatus) -> Iterator[tuple[object, ...]]:
    for bead in town.failed:
        yield short(bead.bead_id), bead.type, time_text(bead.failed_at), bead.title, bead.message or bead.reason


def _mail_rows(town: TownStatus) -> Iterator[tuple[object, ...]]:
    for mail in town.unread_mail:
        told = f"{quantity(mail.told, 'time')}, last {time_text(mail.told_at)}" if mail.told else "not yet"
        yield short(mail.bead_id), short(mail.to), time_text(mail.since), mail.title, told


def _said_rows(town: TownStatus) -> Iterator[tuple[object, ...]]:
    for said in town.mayor_said:
        yield time_text(said.at), short(said.in_reply_to or ""), said.text


def _abandoned_rows(town: TownStatus) -> Iterator[tuple[object, ...]]:
    for each in town.abandoned:
        yield short(each.bead_id), time_text(each.ended_at), each.pr_url, each.reason


def _convoy_rows(town: TownStatus) -> Iterator[tuple[object, ...]]:
    for convoy in town.convoys:
        done, used = f"{convoy.done}/{convoy.total}", spend_words(convoy.used)
        yield short(convoy.bead_id), convoy.state, done, used, convoy.title


def _wake(town: TownStatus) -> str:
    if town.inbox_batches:
        batches = quantity(town.inbox_batches, "batch of events", "batches of events")
        return f"due now, with {batches} in the inbox"
    if town.next_due_at is None:
        return "only an event can wake it"
    if town.next_due_at <= town.now:
        return f"due now, since {to_text(town.next_due_at)}"
    return f"next due at {to_text(town.next_due_at)}"


def _claims(town: TownStatus) -> Iterator[str]:
    if town.paused:
        yield f"paused: no rule acts until `townctl town start {town.town_id}`"
    if town.draining:
        yield "draining: nothing is dispatched until the container is replaced"
    if town.settling:
        yield "settling after an outage: time-based recovery waits"
    if town.breaker.open:
        beads = quantity(town.breaker.failures, "bead")
        yield f"the dispatch breaker is open because {beads} failed to start; nothing is dispatched until it closes"
    if town.events.pending:
        pending = quantity(town.events.pending, "stored event")
        yield f"{pending} to be tried again: townctl event list {town.town_id} --pending"
    if town.events.poisoned:
        poisoned = quantity(town.events.poisoned, "event")
        yield f"{poisoned} failed permanently: townctl event list {town.town_id} --poisoned"
