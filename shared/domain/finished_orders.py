"""What an effect that has finished keeps of its order and of its result."""

from collections.abc import Mapping
from typing import Final

from shared.domain.states import EffectKind

_ALWAYS_LEFT: Final = frozenset({"town_id", "agent_id", "generation", "role", "rearm"})
_LEFT: Final[Mapping[EffectKind, frozenset[str]]] = {
    EffectKind.DISPATCH_AGENT: _ALWAYS_LEFT | {"branch", "bead"},
    EffectKind.NOTIFY_MAYOR: _ALWAYS_LEFT | {"subject", "message", "message_id"},
    EffectKind.SEND_NOTICE: frozenset({"town_id", "channel", "notice", "severity", "at", "bead_id", "count"}),
    EffectKind.SEND_NUDGE: _ALWAYS_LEFT | {"nudge_id", "message", "mode", "priority"},
}
_EMPTIED: Final = "message"


def left_of(kind: EffectKind, payload: Mapping[str, object]) -> dict[str, object]:
    """What a finished effect keeps of its order: what is read of it after its end. The orders that can be long are cut.

    It can still be read as an order of its kind: the texts that it must have are empty.
    """
    kept = _LEFT.get(kind)
    if kept is None:
        return dict(payload)
    left = {name: "" if name == _EMPTIED else value for name, value in payload.items() if name in kept}
    bead = left.get("bead")
    if isinstance(bead, Mapping):
        left["bead"] = {name: value for name, value in bead.items() if name == "id"}
    return left


_LEFT_OF_A_POLL: Final = frozenset({"attempt", "ok", "state"})


def left_of_result(kind: EffectKind, result: Mapping[str, object]) -> dict[str, object]:
    """What a finished effect keeps of its result: that of a poll that was answered is cut to whether it was, and the state.

    It is long, there is one every minute for each pull request, and the event in the journal has it whole.
    """
    if kind is EffectKind.POLL_PR and result.get("ok"):
        return {name: value for name, value in result.items() if name in _LEFT_OF_A_POLL}
    return dict(result)
