"""In which order effects are started, and up to when (spec/tick.md section 5, number 3)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.report import ClaimedEffect
from shared.domain.steps import Steps, drive
from shared.engine.perform import Outside, Performed, perform, rounds_of
from tests.fakes import FakeClock
from tests.towns import MS, T


def an_effect(kind: str, subject: str, seq: int, **payload: Any) -> ClaimedEffect:
    return ClaimedEffect(
        effect_id=f"e{seq}",
        seq=seq,
        kind=kind,
        subject=subject,
        generation=1,
        attempt=1,
        payload=payload,
        deadline=T + timedelta(minutes=10),
    )


def test_an_agent_is_stopped_before_it_is_started_and_nobody_waits_for_another() -> None:
    start = an_effect("dispatch_agent", "p", 1, agent_id="p")
    stop = an_effect("stop_agent", "p", 2, agent_id="p")
    nudge = an_effect("send_nudge", "n1", 3, agent_id="p")
    poll = an_effect("poll_pr", "m", 4)
    assert rounds_of((start, stop, nudge, poll)) == [(stop, poll), (start,), (nudge,)]


def test_nothing_to_start_makes_no_rounds() -> None:
    assert rounds_of(()) == []


@pytest.mark.parametrize(("later", "started"), [(-MS, True), (0 * MS, True), (MS, False)])
def test_an_effect_is_started_up_to_a_minute_after_its_claim(later: timedelta, started: bool) -> None:
    posted: list[dict[str, Any]] = []

    def post(results: tuple[dict[str, Any], ...]) -> Steps[None]:
        posted.extend(results)
        yield from ()

    done = drive(
        perform(
            (an_effect("notify_mayor", "x", 1),),
            Outside(),
            clock=FakeClock(T + timedelta(seconds=60) + later),
            claimed_at=T,
            post=post,
        )
    )
    assert done == (Performed(attempted=1, failed=1) if started else Performed(not_started=1))
    assert len(posted) == started
