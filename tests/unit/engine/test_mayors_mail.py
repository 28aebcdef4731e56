"""One digest replaces the messages that are too many for the mayor in one tick (spec/tick.md section 5)."""

import pytest

from shared.domain import limits
from shared.domain.states import EffectKind
from shared.engine import mayors_mail
from shared.town import outbox
from tests.unit.events.small_town import SmallTown


def told(count: int, message: str, *, first: int = 0) -> list[str]:
    """What the mayor is told in a tick in which so many messages are due."""
    stage = SmallTown()
    for number in range(first, first + count):
        subject = f"escalation:e{number}"
        stage.effect(EffectKind.NOTIFY_MAYOR, subject, claims=0, agent_id="mayor", subject=subject, message=message)
    waits = mayors_mail.fit_into_a_tick(stage.town, outbox.unfinished(stage.town)).waits
    return [str(effect.payload["message"]) for effect in outbox.unfinished(stage.town) if effect.id not in waits]


def test_as_many_messages_as_a_tick_may_tell_are_sent_as_they_are() -> None:
    assert told(limits.MAYOR_TOLD_PER_TICK, "x") == ["x"] * limits.MAYOR_TOLD_PER_TICK


@pytest.mark.parametrize(("length", "shown"), [(120, "x" * 120), (121, f"{'x' * 117}...")])
def test_a_message_of_up_to_120_characters_is_whole_in_a_digest(length: int, shown: str) -> None:
    *_, digest = told(limits.MAYOR_TOLD_PER_TICK + 1, "x" * length)
    assert digest.splitlines()[1:] == [f'- escalation:e19: "{shown}"', f'- escalation:e20: "{shown}"']


@pytest.mark.parametrize(
    ("lines", "left_out"), [(192, []), (193, ["and 1 more: the status of the town lists all open escalations"])]
)
def test_a_digest_of_exactly_24_kib_names_every_message(lines: int, left_out: list[str]) -> None:
    a_line = "x" * (127 - len('- escalation:e000: ""'))
    *_, digest = told(limits.MAYOR_TOLD_PER_TICK - 1 + lines, a_line, first=100)
    assert len("\n".join(digest.splitlines()[1:193])) + 1 == 24 * 1024
    assert digest.splitlines()[193:] == left_out
