"""Results of effects as events: their types, their ids, and the result if an adapter raises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.domain.report import ClaimedEffect
from shared.domain.secret_texts import masked
from shared.domain.states import EffectKind
from shared.domain.wire import Unfit

ResultEvent = dict[str, Any]
"""A result event as the intake accepts it: JSON."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one attempt: whether it succeeded, and the payload of its event, without effect id and attempt."""

    succeeded: bool
    payload: Mapping[str, object]


def success(**payload: object) -> Result:
    """The attempt succeeded."""
    return Result(succeeded=True, payload=payload)


def failure(**payload: object) -> Result:
    """The attempt failed, or its outcome is unknown."""
    return Result(succeeded=False, payload=payload)


_EVENT: Final[Mapping[EffectKind, str]] = {
    EffectKind.DISPATCH_AGENT: "dispatch_result",
    EffectKind.STOP_AGENT: "stop_result",
    EffectKind.POLL_PR: "pr_polled",
    EffectKind.MERGE_PR: "pr_merge_result",
    EffectKind.VERIFY_MERGE: "merge_verified",
    EffectKind.UPDATE_BRANCH: "branch_updated",
    EffectKind.DEQUEUE: "pr_dequeued",
    EffectKind.REQUEST_REVIEW: "review_requested",
    EffectKind.SEND_NUDGE: "nudge_result",
    EffectKind.NOTIFY_MAYOR: "mayor_notified",
    EffectKind.REFRESH_TOKEN: "effect_result",
    EffectKind.STOP_CONTAINER: "effect_result",
    EffectKind.UPDATE_MODEL: "effect_result",
    EffectKind.SEND_NOTICE: "effect_result",
}


_EXPLANATIONS: Final = frozenset(("error", "message", "reason", "says"))
ABOUT_REVIEWS: Final = (
    EffectKind.POLL_PR,
    EffectKind.MERGE_PR,
    EffectKind.VERIFY_MERGE,
    EffectKind.UPDATE_BRANCH,
    EffectKind.DEQUEUE,
    EffectKind.REQUEST_REVIEW,
)
"""The effects whose subject is a merge request and which call a forge."""
_UNDONE: Final[Mapping[EffectKind, Mapping[str, object]]] = {
    EffectKind.POLL_PR: {"ok": False},
    EffectKind.MERGE_PR: {"merged": False},
    EffectKind.DEQUEUE: {"ok": False},
    EffectKind.REQUEST_REVIEW: {"ok": False},
}


def short(text: str) -> str:
    """A text from outside without what looks like a secret, cut to 1,000 bytes so that it fits into an event."""
    return masked(text).encode(errors="replace")[:1000].decode(errors="ignore")


def event_of(effect: ClaimedEffect, result: Result) -> ResultEvent:
    """The result event of one attempt. Its id depends only on the effect and the attempt, so a repeated report is a duplicate."""
    kind = EffectKind(effect.kind)
    event: ResultEvent = {
        "event_id": f"res-{effect.effect_id}-{effect.attempt}",
        "event_type": _EVENT[kind],
        "payload": {"effect_id": effect.effect_id, "attempt": effect.attempt, **_without_secrets(result.payload)},
    }
    if kind in (EffectKind.DISPATCH_AGENT, EffectKind.STOP_AGENT):
        event["agent_id"] = effect.subject
    if kind in ABOUT_REVIEWS:
        event["bead_id"] = effect.subject
    return event


def _without_secrets(payload: Mapping[str, object]) -> dict[str, object]:
    """The payload with its explanations masked: forges, runtimes and git wrote them, and the town keeps them."""
    return {
        key: _without_secrets(value)
        if isinstance(value, Mapping)
        else masked(value)
        if isinstance(value, str) and key in _EXPLANATIONS
        else value
        for key, value in payload.items()
    }


def result_of_broken(effect: ClaimedEffect, error: Exception) -> Result:
    """The result if an adapter raised: the outcome of the call is unknown."""
    if isinstance(error, Unfit):
        return _unknown(effect, f"the order cannot be read: {error}")
    return _unknown(effect, f"{type(error).__name__} in the adapter")


def unanswered(effect: ClaimedEffect, why: str) -> ResultEvent:
    """The result event of an attempt whose outcome is unknown."""
    return event_of(effect, _unknown(effect, why))


def _unknown(effect: ClaimedEffect, text: str) -> Result:
    kind = EffectKind(effect.kind)
    if kind is EffectKind.DISPATCH_AGENT:
        return failure(generation=effect.generation, outcome="unknown", reason=text)
    if kind in ABOUT_REVIEWS:
        return failure(**_UNDONE.get(kind, {}), error={"kind": "transient", "message": text})
    if kind is EffectKind.STOP_AGENT:
        return failure(generation=effect.generation, ok=False, error=text, passing=True)
    if kind is EffectKind.SEND_NUDGE:
        return failure(nudge_id=effect.subject, delivered=False, error=text, passing=True)
    if kind is EffectKind.NOTIFY_MAYOR:
        return failure(delivered=False, error=text, passing=True)
    return failure(kind=effect.kind, ok=False, error=text, passing=True)
