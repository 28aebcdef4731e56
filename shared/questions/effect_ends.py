"""When the unfinished effects of a town expire."""

from collections.abc import Iterator
from datetime import datetime

from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.limits import just_after
from shared.domain.states import EffectKind
from shared.domain.times import from_text, time_or_none
from shared.town.database import Database


def effect_ends(sql: Database, now: datetime) -> Iterator[tuple[tuple[str, str], datetime]]:
    """The first time at which each unfinished effect has expired, unless a worker reports it before (spec/tick.md section 5)."""
    rows = sql.execute(
        "SELECT kind, subject, deadline, claimed_until, attempts FROM outbox "
        "WHERE state IN ('pending', 'claimed') ORDER BY seq"
    ).fetchall()
    for kind, subject, deadline, claimed_until, attempts in rows:
        used_up = attempts >= ALLOWANCE[EffectKind(kind)].attempts
        claim = time_or_none(claimed_until) or now
        yield (kind, subject), just_after(claim if used_up else max(claim, from_text(deadline)))
