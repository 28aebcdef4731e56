"""The alerts of a tick. A failure that repeats, and a sender whose events conflict, raise at most one alert an hour.

Alerts leave the town, so an error is named by its class and the digest of its text, a payload by its size and digest, and an id
that is not a plain id by its digest (spec/events.md section 3). Whoever may read the town finds the texts there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.domain import canonical, limits
from shared.domain.alert import Alert
from shared.domain.obstacles import obstacle_or_none
from shared.domain.report import TickReport, Violation
from shared.domain.secret_texts import digest_of, named, places_of
from shared.domain.senders import Sender
from shared.domain.tick import Envelope, Tick
from shared.town.inbox import Fact
from shared.town.town import Town

_ROW_READABLE = 1
_LONGEST_TAG = 200  # of Sentry; a longer one is dropped
_REPEATED = frozenset({"rule_failed", "action_failed", "step_failed", "check_failed", "event_conflict"})


def problem(tick: Tick, kind: str, name: str, text: str) -> Alert:
    """A rule, action, step or check failed with an error (as `drain.error_text` gives it); the tick continued without it."""
    error = class_of(text)
    return Alert(
        kind=kind,
        message=f"{kind.replace('_', ' ')} in town {tick.town_id}: {name}: {error}",
        fingerprint=(kind, name, error, digest_of(text)),
        tags={"townId": tick.town_id, "name": name},
        extra={"tick_id": tick.id, "error": error, "error_sha256": digest_of(text)},
    )


def conflicting_actions(tick: Tick, rule: str, action: str, subject: str) -> Alert:
    """Two rules of one pass want different states for the same row; the first one won."""
    about = named(subject)
    return Alert(
        kind="action_conflict",
        message=f"two rules of one pass disagree in town {tick.town_id}: {rule}: {action} {about}",
        fingerprint=("action_conflict", rule, action, about),
        tags={"townId": tick.town_id, "name": rule},
        extra={"tick_id": tick.id, "action": action, "subject": about},
    )


def conflicting_event(tick: Tick, event_id: str, *, sender: Sender | None = None, events: int = 1) -> Alert:
    """An event has the id of an earlier event, but different content; so have others of the same sender, `events` in all.

    Who sends such events chooses their ids, so the sender makes the alert's group, not the id.
    """
    name, scope, agent = named(event_id), *_named_sender(sender)
    return Alert(
        kind="event_conflict",
        message=f"event {name} of town {tick.town_id} was received again with different content; the first one was kept",
        fingerprint=("event_conflict", scope, agent),
        tags={"townId": tick.town_id},
        extra={"event_id": name, "scope": scope, "agent": agent, "events": events, "tick_id": tick.id},
    )


def conflicting_events(tick: Tick, events: Sequence[Envelope]) -> list[Alert]:
    """One alert for each sender of conflicting events; it names the first one."""
    of_sender: dict[tuple[str, str], list[Envelope]] = {}
    for event in events:
        of_sender.setdefault(_named_sender(event.sender), []).append(event)
    return [
        conflicting_event(tick, first.event_id, sender=first.sender, events=len(each))
        for each in of_sender.values()
        for first in each[:1]
    ]


def _named_sender(sender: Sender | None) -> tuple[str, str]:
    """Scope and agent of a sender, as alerts name them."""
    scope = "unknown" if sender is None else sender.scope
    return scope, "none" if sender is None or sender.agent is None else named(sender.agent)


def poisoned_event(tick: Tick, fact: Fact, *, attempt: int, error: str) -> Alert:
    """An event failed permanently with an error (as `drain.error_text` gives it) and was set aside."""
    name, event_type, wrong = named(fact.event_id), named(fact.event_type), class_of(error)
    return Alert(
        kind="event_poisoned",
        message=f"event {name} ({event_type}) of town {tick.town_id} was poisoned: {wrong}",
        fingerprint=("event_poisoned", event_type, wrong),
        tags={"townId": tick.town_id, "eventType": event_type},
        extra={
            "event_id": name,
            "event_type": event_type,
            "payload_bytes": len(fact.payload.encode(errors="surrogatepass")),
            "payload_sha256": digest_of(fact.payload),
            "retry_count": attempt,
            "error": wrong,
            "error_sha256": digest_of(error),
        },
    )


def over_budget(tick: Tick, fact: Fact) -> Alert:
    """A sender has sent more than its budget; the rest of its events in this window is refused."""
    sender = fact.sender
    scope, agent = _named_sender(sender)
    return Alert(
        kind="over_budget",
        message=f"a sender of scope {scope} (agent: {agent}) floods town {tick.town_id}: events over its budget are refused",
        fingerprint=("over_budget", scope, agent),
        tags={"townId": tick.town_id, "scope": scope},
        extra={
            "agent": agent,
            "generation": None if sender is None else sender.generation,
            "key": None if sender is None else sender.key,
            "tick_id": tick.id,
        },
    )


def platform_trouble(tick: Tick, data: Mapping[str, object]) -> Alert:
    """A forge does not let towns look with a token of the deployment. The alerts of all towns about it are one group."""
    obstacle = str(obstacle_or_none(data.get("obstacle")) or "unknown")
    host, secret = (named(str(data.get(name, ""))) for name in ("host", "secret"))
    return Alert(
        kind="forge_token",
        message=f"towns cannot read pull requests at {host} with the deployment's token {secret}: {obstacle.replace('_', ' ')}",
        fingerprint=("forge_token", obstacle, host, secret),
        tags={"townId": tick.town_id, "obstacle": obstacle, "host": host},
        extra={"townId": tick.town_id, "tick_id": tick.id, "secret": secret},
    )


def violation(tick: Tick, broken: Violation) -> Alert:
    """An invariant is violated. Its subject is an id, or, of an unreadable row, the table and the key."""
    table, _, key = broken.subject.partition(" ") if broken.invariant == _ROW_READABLE else ("", "", broken.subject)
    subject = f"{table} {named(key)}".strip()
    message = f"invariant {broken.invariant} ({broken.name}) is violated in town {tick.town_id} by {subject}"
    return Alert(
        kind="invariant_violation",
        message=message,
        fingerprint=("invariant_violation", str(broken.invariant), tick.town_id),
        tags={
            "invariant": broken.name,
            "number": str(broken.invariant),
            "message": message[:_LONGEST_TAG],
            "townId": tick.town_id,
        },
        extra={"number": broken.invariant, "subject": subject, "townId": tick.town_id},
    )


def town_failed(town_id: str, error: Exception) -> Alert:
    """A run ended with an error that needs a person: a wrong, damaged or missing image, denied access, a bug."""
    return _of_a_town("town_failed", f"town {town_id} was not ticked", town_id, error)


def town_set_aside(town_id: str, *, deaths: int) -> Alert:
    """Runs of this town end the process that makes them, again and again; the town is not run until somebody resumes it."""
    return Alert(
        kind="town_set_aside",
        message=f"town {town_id} is set aside: {deaths} runs of its own ended their process",
        fingerprint=("town_set_aside", town_id),
        tags={"townId": town_id},
        extra={"townId": town_id, "deaths": deaths, "hint": f"correct the cause, then: townctl town resume {town_id}"},
    )


def retention_failed(town_id: str, error: Exception) -> Alert:
    """Old data of a town could not be deleted for a reason that needs a person; nothing was lost."""
    return _of_a_town("retention_failed", f"old data of town {town_id} was not deleted", town_id, error)


def _of_a_town(kind: str, what: str, town_id: str, error: Exception) -> Alert:
    name = named(type(error).__name__)
    return Alert(
        kind=kind,
        message=f"{what}: {name}",
        fingerprint=(kind, name, town_id),
        tags={"townId": town_id, "error": name},
        extra={
            "townId": town_id,
            "where": places_of(error),
            "error_sha256": digest_of(str(error)),
            "hint": _TO_READ_IT,
        },
    )


_TO_READ_IT = "`townctl doctor` and `townctl status` show the error with its text to whoever may read the town"


def class_of(text: str) -> str:
    """The class of an error in its text (`KeyError: ...`), or a word of the drain such as `too old`."""
    return named(text.partition(":")[0].replace(" ", "_")).replace("_", " ")


def limit_repeats(town: Town, report: TickReport) -> TickReport:
    """Drop alerts of repeating kinds that were already raised in the last hour; record the others in the town key `alerted`."""
    stored = town.keys.alerted
    recent = {key: at for key, at in stored.items() if town.tick.within(at, limits.ALERT_REPEAT)}
    kept = []
    for alert in report.alerts:
        if alert.kind not in _REPEATED:
            kept.append(alert)
            continue
        key = canonical.digest(list(alert.fingerprint))[:16]
        if key not in recent:
            recent[key] = town.tick.now
            kept.append(alert)
    if recent != stored:
        town.keys.alerted = recent
    return replace(report, alerts=tuple(kept))
