"""The answers of towns that really live on: no rule acts before the due time that was told, and none fails to act then."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import pytest

from shared.domain import limits
from shared.domain.limits import just_after
from shared.domain.times import from_text
from shared.questions.foresight import mentions
from shared.questions.holding import CODE_OF
from shared.questions.waits import Waits
from tests.properties.starts import STARTS, begin
from tests.towns import TownBuilder

TICKS: Final = 8


@pytest.mark.parametrize("start", STARTS)
def test_what_was_told_of_a_bead_comes_true_while_nobody_reports_anything(start: str) -> None:
    life = begin(start)
    life.town.tick_no = life.town.value("tick_no") or 1
    life.town.sql.execute("DELETE FROM town_events WHERE processed_at IS NULL")
    assert list(_flaws(life.town, life.now)) == []
    life.close()


def _flaws(town: TownBuilder, now: datetime) -> Iterator[str]:
    told = town.asked(now)
    at = max(just_after(now), from_text(town.value("last_tick_at")) + limits.ACTIVE_INTERVAL)
    due = town.value("next_due_at")
    for _ in range(TICKS if due else 0):
        at = max(at, from_text(due))
        report = town.tick(at=at)
        acted = {
            bead_id: {
                CODE_OF[each.rule]
                for each in report.actions
                if each.rule in CODE_OF and mentions(each.action, told.rows[bead_id].subjects)
            }
            for bead_id in told.of_beads
        }
        after = town.asked(at)
        yield from _broken(told, acted, after, at)
        told, due = after, town.value("next_due_at")
        at += limits.ACTIVE_INTERVAL
        if due is None:
            return


def _broken(told: Waits, acted: dict[str, set[str]], after: Waits, at: datetime) -> Iterator[str]:
    for bead_id, waiting in told.of_beads.items():
        later = after.of_beads.get(bead_id)
        if acted[bead_id] and (waiting.due_at is None or waiting.due_at > at):
            yield f"{acted[bead_id]} acted at {at}, before {waiting}"
        came = waiting.due_at is not None and waiting.due_at <= at
        if came and waiting.rule not in acted[bead_id] and later is not None and later.reason == waiting.reason:
            yield f"{waiting.rule} did not act at {at}: {waiting}"
    for waiting in after.of_beads.values():
        times = [waiting.since, *(guard.since for guard in waiting.guards if guard.since is not None)]
        if max(times) > at or (waiting.due_at is not None and waiting.due_at <= at):
            yield f"it has a time on the wrong side of {at}: {waiting}"
        if any(guard.until is not None and guard.until <= at for guard in waiting.guards):
            yield f"a guard has ended: {waiting}"
