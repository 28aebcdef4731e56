"""The alerts of a tick. A failure that repeats raises at most one alert an hour."""

from collections.abc import Mapping
from dataclasses import replace

from shared.domain import canonical, limits
from shared.domain.alert import Alert
from shared.domain.report import TickReport, Violation
from shared.domain.tick import Tick
from shared.town.town import Town

_REPEATED = frozenset({"rule_failed", "action_failed", "step_failed", "check_failed"})


def problem(tick: Tick, kind: str, name: str, text: str) -> Alert:
    """A rule, action, step or check failed; the tick continued without it."""
    return Alert(
        kind=kind,
        message=f"{kind.replace('_', ' ')} in town {tick.town_id}: {name}: {text}",
        fingerprint=(kind, name, text),
        tags={"townId": tick.town_id, "name": name},
        extra={"tick_id": tick.id, "error": text},
    )


def conflicting_event(tick: Tick, event_id: str) -> Alert:
    """An event has the id of an earlier event, but different content."""
    return Alert(
        kind="event_conflict",
        message=f"event {event_id} of town {tick.town_id} was received again with different content; the first one was kept",
        fingerprint=("event_conflict", event_id),
        tags={"townId": tick.town_id},
        extra={"event_id": event_id, "tick_id": tick.id},
    )


def platform_trouble(tick: Tick, data: Mapping[str, object]) -> Alert:
    """A forge does not let towns look with a token of the deployment. The alerts of all towns about it are one group."""
    obstacle, host, secret = (str(data.get(name, "")) for name in ("obstacle", "host", "secret"))
    return Alert(
        kind="forge_token",
        message=f"towns cannot read pull requests at {host} with the deployment's token {secret}: {data.get('message', '')}",
        fingerprint=("forge_token", obstacle, host, secret),
        tags={"townId": tick.town_id, "obstacle": obstacle, "host": host},
        extra={"townId": tick.town_id, "tick_id": tick.id, "secret": secret},
    )


def violation(tick: Tick, broken: Violation) -> Alert:
    """An invariant is violated."""
    return Alert(
        kind="invariant_violation",
        message=broken.message,
        fingerprint=("invariant_violation", str(broken.invariant), tick.town_id),
        tags={"invariant": broken.name, "townId": tick.town_id},
        extra={"number": broken.invariant, "message": broken.message, "townId": tick.town_id},
    )


def town_failed(town_id: str, error: Exception) -> Alert:
    """A run ended with an error that needs a person: a wrong, damaged or missing image, denied access, a bug."""
    return _of_a_town("town_failed", f"town {town_id} was not ticked", town_id, error)


def retention_failed(town_id: str, error: Exception) -> Alert:
    """Old data of a town could not be deleted for a reason that needs a person; nothing was lost."""
    return _of_a_town("retention_failed", f"old data of town {town_id} was not deleted", town_id, error)


def _of_a_town(kind: str, what: str, town_id: str, error: Exception) -> Alert:
    name = type(error).__name__
    return Alert(
        kind=kind,
        message=f"{what}: {name}: {error}",
        fingerprint=(kind, name, town_id),
        tags={"townId": town_id, "error": name},
        extra={"townId": town_id, "hint": getattr(error, "hint", "")},
    )


def limit_repeats(town: Town, report: TickReport) -> TickReport:
    """Drop failure alerts that were already raised in the last hour; record the others in the town key `alerted`."""
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
