"""The limits of each kind of effect: attempts, time from creation to the last start, timeout of one call.

The table of spec/tick.md section 5 and EFFECT_TIMEOUT of spec/README.md section 3.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.domain.states import EffectKind


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most `attempts` starts, none later than `deadline` after creation, each at most `timeout` long."""

    attempts: int
    deadline: timedelta
    timeout: timedelta = timedelta(seconds=30)


ALLOWANCE: Final = {
    EffectKind.DISPATCH_AGENT: Allowance(1, timedelta(seconds=90), timedelta(seconds=60)),
    EffectKind.STOP_AGENT: Allowance(5, timedelta(minutes=15)),
    EffectKind.POLL_PR: Allowance(1, timedelta(seconds=60)),
    EffectKind.MERGE_PR: Allowance(3, timedelta(minutes=10)),
    EffectKind.VERIFY_MERGE: Allowance(1, timedelta(seconds=60)),
    EffectKind.UPDATE_BRANCH: Allowance(1, timedelta(minutes=2)),
    EffectKind.DEQUEUE: Allowance(3, timedelta(minutes=10)),
    EffectKind.REQUEST_REVIEW: Allowance(3, timedelta(minutes=10)),
    EffectKind.SEND_NUDGE: Allowance(3, timedelta(minutes=30)),
    EffectKind.NOTIFY_MAYOR: Allowance(5, timedelta(minutes=60)),
    EffectKind.REFRESH_TOKEN: Allowance(3, timedelta(minutes=30)),
    EffectKind.STOP_CONTAINER: Allowance(1, timedelta(minutes=2)),
    EffectKind.UPDATE_MODEL: Allowance(3, timedelta(minutes=10)),
    EffectKind.SEND_NOTICE: Allowance(20, timedelta(hours=4)),
}
