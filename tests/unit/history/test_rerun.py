"""A rerun: a private copy that can start over from another committed image."""

import pytest

from shared.domain.errors import WrongTown
from shared.history.rerun import past_digest, rerun
from shared.ports.town_past import PastImage
from tests.towns import T, TownBuilder, a_town


def past(town: TownBuilder, *, txid: int) -> PastImage:
    return PastImage(
        town_id=town.town_id, image=town.image(), txid=txid, tick_no=town.value("tick_no"), tick_at=T, committed_at=T
    )


def test_a_rerun_that_restarts_continues_from_the_other_image() -> None:
    first, second = past(a_town(), txid=7), past(a_town().bead("b"), txid=9)
    with rerun(first) as running:
        assert running.sql.execute("SELECT COUNT(*) FROM beads WHERE bead_id = 'b'").fetchone() == (0,)
        running.restart(second)
        assert running.sql.execute("SELECT COUNT(*) FROM beads WHERE bead_id = 'b'").fetchone() == (1,)
        assert (running.txid, running.digest) == (9, past_digest(second))
        assert running.as_past(first) == second


def test_a_rerun_does_not_restart_from_another_town() -> None:
    with rerun(past(a_town(), txid=1)) as running, pytest.raises(WrongTown):
        running.restart(
            PastImage(town_id="t1", image=a_town("t2").image(), txid=2, tick_no=1, tick_at=T, committed_at=T)
        )
