"""Phase 5: apply pending events in order, each in its own savepoint (spec/events.md sections 2 and 3)."""

from dataclasses import dataclass, field
from datetime import timedelta

from shared import events
from shared.actions.base import Action
from shared.domain import limits, strict_json
from shared.domain.alert import Alert
from shared.domain.errors import RowUnreadable, UnreadableEvent
from shared.domain.outcomes import Applied, Rejected
from shared.domain.report import AppliedEvent
from shared.domain.secret_texts import masked
from shared.domain.times import from_text, to_text
from shared.engine import alerts, budgets
from shared.engine.budgets import Accounts
from shared.events import ages, fence, proposals, speakers
from shared.events.base import EventResult
from shared.town import database, inbox
from shared.town.inbox import Fact
from shared.town.town import Said, Town

HEARTBEAT = "agent_heartbeat"


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


def pending_events(town: Town) -> Drained:
    """Apply all pending events, including those that other events append."""
    accounts = Accounts(town)
    drained = Drained()
    after = -1
    while facts := inbox.pending(town, after=after):
        superseded = _superseded_heartbeats(facts)
        for fact in facts:
            after = fact.seq
            if fact.event_id in superseded:
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


def _superseded_heartbeats(facts: list[Fact]) -> frozenset[str]:
    """The ids of heartbeats that are superseded by a newer one of the same agent and generation."""
    # A town that was not ticked for a while has many heartbeats of the same agent in its inbox, and only the newest matters:
    # it carries the latest watermark. Example: after ten minutes without ticks an agent has 20 heartbeats; 19 are dropped
    # unread and one is applied. The newest is the one with the latest activity, on our clock. Heartbeats of different
    # generations, as the token or else the payload says, are kept apart: a stale one must be skipped as stale. One that cannot
    # be parsed is never superseded: it must be poisoned, not dropped.
    newest: dict[tuple[str | None, object], tuple[tuple[str, str, int], str]] = {}
    beats = [fact for fact in facts if fact.event_type == HEARTBEAT]
    if len(beats) < 2:
        return frozenset()
    superseded: list[str] = []
    for fact in beats:
        if fact.unreadable is not None:
            continue
        try:
            payload = strict_json.stored(fact.payload)
            group = (fact.agent_id, fact.generation or payload.get("generation"))
            told = from_text(payload["last_event_at"]) if payload.get("last_event_at") else None
            at = fact.received_at if told is None else to_text(ages.on_our_clock(fact, told))
            rank = (at, fact.received_at, fact.seq)
            best = newest.get(group)
        except (ValueError, AttributeError, TypeError):
            continue
        if best is None:
            newest[group] = (rank, fact.event_id)
        elif rank > best[0]:
            superseded.append(best[1])
            newest[group] = (rank, fact.event_id)
        else:
            superseded.append(fact.event_id)
    return frozenset(superseded)


def error_text(error: Exception) -> str:
    """Class name and message without secrets, on one line of at most 500 characters: the only form in which errors are stored."""
    text = f"{type(error).__name__}: {masked(str(error))}"
    return " ".join(text.split())[:500]
