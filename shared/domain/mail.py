"""The names of deliveries: each message has the same ones every time, so that its addressee gets it once."""

from typing import Final

from shared.domain import ids
from shared.domain.states import EffectKind

_MAIL: Final = "mail:"


def subject_of(bead_id: str) -> str:
    """The subject of the effect that brings a message to the mayor."""
    return f"{_MAIL}{bead_id}"


def in_subject(subject: str) -> str | None:
    """The message that such an effect brings to the mayor; None if its subject is something else."""
    return subject.removeprefix(_MAIL) if subject.startswith(_MAIL) else None


def message_id_of(bead_id: str) -> str:
    """The id under which the mayor's runtime knows a message."""
    return f"mail-{bead_id}"


def nudge_id_of(town_id: str, bead_id: str) -> str:
    """The id of the nudge that brings a message to another agent."""
    return ids.derived_from(town_id, f"{_MAIL}{bead_id}")


def effect_of(town_id: str, bead_id: str, *, for_mayor: bool) -> tuple[EffectKind, str]:
    """Kind and subject of the effect that brings a message to its addressee."""
    if for_mayor:
        return EffectKind.NOTIFY_MAYOR, subject_of(bead_id)
    return EffectKind.SEND_NUDGE, nudge_id_of(town_id, bead_id)
