"""When the unfinished effects of a town expire."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.limits import just_after
from shared.domain.states import EffectKind
from shared.domain.times import from_text, time_or_none
from shared.town.database import Database

OF_A_PULL_REQUEST: Final = (
    EffectKind.MERGE_PR,
    EffectKind.VERIFY_MERGE,
    EffectKind.UPDATE_BRANCH,
    EffectKind.DEQUEUE,
    EffectKind.REQUEST_REVIEW,
)
"""The effects about a pull request that a rule does not request again before they have ended."""

OF_ROWS: Final = (*OF_A_PULL_REQUEST, EffectKind.NOTIFY_MAYOR, EffectKind.SEND_NUDGE)
"""The effects whose end changes what rules do with one row."""


def call_about(review_id: str, unfinished: Collection[tuple[str, str]]) -> EffectKind:
    """The call about a pull request that has not been answered."""
    return next((kind for kind in OF_A_PULL_REQUEST if (kind, review_id) in unfinished), EffectKind.MERGE_PR)


def effect_ends(sql: Database, now: datetime) -> Iterator[tuple[tuple[str, str], datetime]]:
    """When each unfinished effect expires, unless a worker reports it earlier (spec/tick.md section 5)."""
    rows = sql.execute(
        "SELECT kind, subject, deadline, claimed_until, attempts FROM outbox "
        "WHERE state IN ('pending', 'claimed') ORDER BY seq"
    ).fetchall()
    for kind, subject, deadline, claimed_until, attempts in rows:
        used_up = attempts >= ALLOWANCE[EffectKind(kind)].attempts
        claim = time_or_none(claimed_until) or now
        yield (kind, subject), just_after(claim if used_up else max(claim, from_text(deadline)))
