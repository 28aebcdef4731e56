"""What a restore in place takes from the past, and what it takes from the present (spec/tick.md section 15)."""

from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import pytest

from shared.domain import limits
from shared.domain.brake import Brake
from shared.domain.restores import InPlaceRestore
from shared.domain.times import from_text
from shared.images import restoring
from shared.town import database
from shared.town.town_keys import TownKeys
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, ago

LATER = T + timedelta(minutes=30)
NOW = T + timedelta(minutes=10)
BACK = InPlaceRestore(
    tick=21, txid=22, at=NOW, epoch=1, restored_txid=11, restored_tick=10, restored_at=T, last_tick=20
)


def restored(past: TownBuilder, present: TownBuilder) -> AbstractContextManager[database.Database]:
    """The image that brings `past` back, opened."""
    image = restoring.carried_over(past.image(), present.image(), BACK, tick_id="21-restore-w", previous="0" * 72)
    return database.opened(image)


def with_effect(town: TownBuilder, state: str, *, generation: int = 1, kind: str = "notify_mayor") -> TownBuilder:
    """A town with an effect in this state."""
    until = {"claim": "9-w", "claimed_until": LATER} if state == "claimed" else {}
    finished: dict[str, datetime] = {"finished_at": T} if state in ("done", "failed") else {}
    row = {"kind": kind, "subject": "p", "payload": {}, "deadline": LATER, "created_at": ago(minutes=1), "attempts": 1}
    return town.insert("outbox", effect_id="e1", seq=1, generation=generation, state=state, **row, **until, **finished)


@pytest.mark.parametrize(
    ("state", "then"), [("pending", "expired"), ("claimed", "expired"), ("done", "done"), ("failed", "failed")]
)
def test_no_effect_of_the_past_is_left_to_be_performed(state: str, then: str) -> None:
    """It was performed in the future that is discarded, or somebody else has done it since."""
    with restored(with_effect(a_town(), state), a_town()) as sql:
        assert sql.execute("SELECT state, claim, claimed_until FROM outbox").fetchall() == [(then, None, None)]
        finished: str = sql.execute("SELECT finished_at FROM outbox").fetchone()[0]
        assert from_text(finished) == (NOW if then == "expired" else T)


@pytest.mark.parametrize("key", ["next_seq", "next_audit_seq"])
@pytest.mark.parametrize(("past", "present"), [(50, 900), (900, 50)], ids=["present", "past"])
def test_no_number_is_used_twice_whichever_image_has_used_more(key: str, past: int, present: int) -> None:
    with restored(a_town().key(key, past), a_town().key(key, present)) as sql:
        assert getattr(TownKeys(sql), key) == 900


@pytest.mark.parametrize(("past", "present"), [(3, 7), (7, 3)], ids=["present", "past"])
def test_every_agent_gets_a_generation_that_neither_image_nor_a_lost_tick_has_used(past: int, present: int) -> None:
    with restored(a_town().agent("p", generation=past), a_town().agent("q", generation=present)) as sql:
        lost = BACK.tick - BACK.last_tick
        rows = sql.execute("SELECT generation, ended_generation FROM agent_metadata").fetchall()
        assert set(rows) == {(7 + lost, 7 + lost)}


def test_the_generations_of_deleted_agents_count_as_long_as_their_effects_are_known() -> None:
    present = with_effect(a_town(), "done", generation=9, kind="dispatch_agent")
    with restored(a_town().agent("p", generation=3), present) as sql:
        assert sql.execute("SELECT generation FROM agent_metadata ORDER BY 1").fetchall() == [(10,), (10,)]


def test_a_restored_town_is_due_at_once_and_settles() -> None:
    with restored(a_town(), a_town()) as sql:
        keys = TownKeys(sql)
        assert (keys.next_due_at, keys.settling_until) == (NOW, NOW + limits.SETTLE_FOR)
        assert (keys.tick_no, keys.last_tick_at) == (BACK.tick, NOW)


@scenario(642)
def test_a_town_that_somebody_has_paused_stays_paused_when_its_past_is_restored() -> None:
    brake = {"by": "ann", "at": "2026-01-10T12:00:00.000Z", "stopped_agents": False}
    with restored(a_town(), a_town().key("paused", True).key("brake", brake)) as sql:
        assert (TownKeys(sql).paused, TownKeys(sql).brake) == (True, Brake("ann", T, False))
    with restored(a_town().key("paused", True).key("brake", brake), a_town()) as sql:
        assert TownKeys(sql).paused
