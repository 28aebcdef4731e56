"""Actions that ask people, and end the question: what they skip."""

import pytest

from shared.actions import CloseEscalation, EscalateReviewCap, RaiseEscalation
from shared.domain.outcomes import Applied, Skipped
from tests.towns import a_town
from tests.unit.actions.builders import on

RAISE = RaiseEscalation(bead_id="b", reason="no_agent", episode="no_agent:1", message="since noon")
CAP = EscalateReviewCap(bead_id="m", attempts=5)
CLOSE = CloseEscalation(bead_id="b", reason="it has an agent")


@pytest.mark.parametrize("action", [RAISE, CAP, CLOSE])
def test_nothing_is_asked_or_ended_about_a_bead_that_is_gone(action: RaiseEscalation) -> None:
    assert on(a_town()).refused(action) == Skipped("missing")


def test_nothing_is_asked_about_work_that_has_ended() -> None:
    assert on(a_town().bead("b", status="closed")).refused(RAISE) == Skipped("terminal")
    assert on(a_town().review("m", status="failed")).refused(CAP) == Skipped("terminal")


def test_a_wait_is_voiced_once_even_after_its_escalation_was_closed() -> None:
    stage = on(a_town().bead("b"))
    assert stage.apply(RAISE) == Applied()
    [escalation] = stage.created("escalation")
    assert stage.apply(CloseEscalation(bead_id=escalation, reason="seen")) == Applied()
    assert stage.refused(RAISE) == Skipped("already")


def test_only_an_escalation_is_closed_with_its_cause() -> None:
    assert on(a_town().bead("b")).refused(CLOSE) == Skipped("missing")
