"""What an effect of each kind may cost, written down a second time (as the constants in test_limits)."""

from datetime import timedelta

import pytest

from shared.domain.effect_allowances import ALLOWANCE, Allowance
from shared.domain.states import EffectKind

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

# spec/tick.md section 5; the time-outs are EFFECT_TIMEOUT of spec/README.md section 3
ALLOWANCES = {
    "dispatch_agent": Allowance(1, 90 * SECOND, 60 * SECOND),
    "stop_agent": Allowance(5, 15 * MINUTE, 30 * SECOND),
    "poll_pr": Allowance(1, 60 * SECOND, 30 * SECOND),
    "merge_pr": Allowance(3, 10 * MINUTE, 30 * SECOND),
    "verify_merge": Allowance(1, 60 * SECOND, 30 * SECOND),
    "update_branch": Allowance(1, 2 * MINUTE, 30 * SECOND),
    "dequeue": Allowance(3, 10 * MINUTE, 30 * SECOND),
    "request_review": Allowance(3, 10 * MINUTE, 30 * SECOND),
    "send_nudge": Allowance(3, 30 * MINUTE, 30 * SECOND),
    "notify_mayor": Allowance(5, 60 * MINUTE, 30 * SECOND),
    "refresh_token": Allowance(3, 30 * MINUTE, 30 * SECOND),
    "stop_container": Allowance(1, 2 * MINUTE, 30 * SECOND),
    "update_model": Allowance(3, 10 * MINUTE, 30 * SECOND),
    "send_notice": Allowance(20, 240 * MINUTE, 30 * SECOND),
}


@pytest.mark.parametrize("kind", list(EffectKind))
def test_every_effect_may_cost_what_the_specification_says(kind: EffectKind) -> None:
    assert ALLOWANCE[kind] == ALLOWANCES[kind.value]


def test_every_kind_of_effect_has_an_allowance() -> None:
    assert {kind.value for kind in ALLOWANCE} == ALLOWANCES.keys()
