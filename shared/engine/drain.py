"""Phase 5: apply pending events in order, each in its own savepoint (spec/events.md sections 2 and 3)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared import events
from shared.actions.base import Action
from shared.domain import limits
from shared.domain.alert import Alert
from shared.domain.errors import RowUnreadable, UnreadableEvent
from shared.domain.outcomes import Applied, Rejected
from shared.domain.report import AppliedEvent
from shared.domain.secret_texts import masked
from shared.domain.times import from_text
from shared.engine import alerts, budgets
from shared.engine.budgets import Accounts
from shared.events import fence, proposals, speakers
from shared.events.base import EventResult
from shared.events.beats import HEARTBEAT, outdone
from shared.town import database, inbox
from shared.town.inbox import Fact
from shared.town.no_room import require_room
from shared.town.town import Said, Town


class _NothingStored(Exception):
    def __init__(self, rejected: EventResult) -> None:
        self.rejected = rejected


@dataclass(slots=True)
class Drained:
    """The result of the drain. `returned` holds the actions that events returned, as (rule, action) in event order."""

    events: list[AppliedEvent] = field(default_factory=list)
    returned: list[tuple[str, Action]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    processed: int = 0
    poisoned: int = 0


def pending_events(town: Town, *, previous_tick_at: datetime | None) -> Drained:
    """Apply all pending events, including those that other events append.

    An event that failed before waits if the tick before this one is less than FAILED_EVENT_RETRY ago: what it failed for must have
    time to pass, however many ticks other events cause.
    """
    accounts = Accounts(town)
    drained = Drained()
    too_soon = previous_tick_at is not None and town.tick.now - previous_tick_at < limits.FAILED_EVENT_RETRY
    after = -1
    while facts := inbox.pending(town, after=after):
        outdone_ids = _outdone(facts)
        for fact in facts:
            after = fact.seq
            if too_soon and fact.retry_count > 0:
                continue
            if fact.event_id in outdone_ids:
                inbox.remove(town, fact)
                _note(drained, fact, "applied")
            elif inbox.is_pending(town, fact):
                _apply(town, fact, drained, accounts)
    accounts.store()
    proposals.tell_mayor(town)
    return drained


def _apply(town: Town, fact: Fact, drained: Drained, accounts: Accounts) -> None:
    if _too_old(town, fact):
        _poison(town, fact, "too old", drained)
        return
    try:
        event = events.read(fact)
    except UnreadableEvent as error:
        _poison(town, fact, error_text(error), drained)
        return
    has_room = accounts.has_room(event, fact)
    if not has_room and event.over_budget == "refused":
        _refuse(town, fact, drained, accounts.refuse(event, fact))
        return
    noted = town.noted()
    town.said = None if fact.sender is None else Said(fact.event_id, fact.sender.words)
    try:
        with database.savepoint(town.sql):
            refused = fence.stopped(event, fact, town) or _refused(event, fact, town)
            result = refused or event.apply(fact, town)
            if isinstance(result.outcome, Rejected):
                raise _NothingStored(result)
            _settle(town, fact, result, transient=type(event).transient or result.transient)
    except _NothingStored as nothing:
        town.forget_since(noted)
        result = nothing.rejected
        _settle(town, fact, result, transient=type(event).transient)
    except Exception as error:  # noqa: BLE001 - the one boundary per event: it is retried, then poisoned and alerted
        require_room(error)
        town.forget_since(noted)
        if isinstance(error, RowUnreadable):
            town.note_unreadable(error)
        accounts.count(event, fact, None)
        _failed(town, fact, error_text(error), drained)
        return
    finally:
        town.said = None
    accounts.count(event, fact, result)
    if not has_room and not isinstance(result.outcome, Applied):
        inbox.remove(town, fact)
        result = EventResult(result.outcome)  # nobody is told why again and again
    rule = f"event:{fact.event_type}"
    drained.returned.extend((rule, action) for action in result.returns)
    _note(drained, fact, result.outcome.text)


def _refuse(town: Town, fact: Fact, drained: Drained, told: EventResult | None) -> None:
    """Refuse an event that is over its sender's budget. It leaves no row, so that a flood does not fill the image."""
    inbox.remove(town, fact)
    if told is not None:
        drained.returned.extend((f"event:{fact.event_type}", action) for action in told.returns)
        drained.alerts.append(alerts.over_budget(town.tick, fact))
    _note(drained, fact, budgets.REFUSED.text)


def _refused(event: events.Event, fact: Fact, town: Town) -> EventResult | None:
    refusal = speakers.refusal(event, fact, town)
    return None if refusal is None else EventResult(refusal)


def _settle(town: Town, fact: Fact, result: EventResult, *, transient: bool) -> None:
    if transient:
        inbox.remove(town, fact)
    else:
        inbox.mark_processed(town, fact, result.outcome.text)


def _failed(town: Town, fact: Fact, error: str, drained: Drained) -> None:
    attempt = fact.retry_count + 1
    if attempt >= limits.MAX_EVENT_RETRIES:
        _poison(town, fact, error, drained)
        return
    inbox.mark_failed(town, fact, error)
    drained.events.append(AppliedEvent(fact.event_id, fact.event_type, "failed", attempt, error))


def _poison(town: Town, fact: Fact, error: str, drained: Drained) -> None:
    inbox.mark_poisoned(town, fact, error)
    town.keys.count(poisoned=1)
    attempt = fact.retry_count + 1
    drained.events.append(AppliedEvent(fact.event_id, fact.event_type, "poisoned", attempt, error))
    drained.processed += 1
    drained.poisoned += 1
    drained.alerts.append(alerts.poisoned_event(town.tick, fact, attempt=attempt, error=error))


def _note(drained: Drained, fact: Fact, outcome: str) -> None:
    drained.events.append(AppliedEvent(fact.event_id, fact.event_type, outcome))
    drained.processed += 1


def _too_old(town: Town, fact: Fact) -> bool:
    horizon: timedelta = max(limits.EVENT_RETENTION, town.tick.restore_window)
    if fact.source not in ("ingest", "operator") or fact.created_at == fact.received_at:
        return False
    if fact.event_type in events.BY_TYPE and events.BY_TYPE[fact.event_type].ages:
        return False
    try:
        return from_text(fact.received_at) - from_text(fact.created_at) > horizon
    except ValueError:
        return False


def _outdone(facts: list[Fact]) -> frozenset[str]:
    """The ids of heartbeats that a newer one outdoes: of those that the drain finds, some may have waited in the town."""
    beats = [fact for fact in facts if fact.event_type == HEARTBEAT and fact.unreadable is None]
    return frozenset(beats[position].event_id for position in outdone(beats))


def error_text(error: Exception) -> str:
    """Class name and message without secrets, on one line of at most 500 characters: the only form in which errors are stored."""
    text = f"{type(error).__name__}: {masked(str(error))}"
    return " ".join(text.split())[:500]
