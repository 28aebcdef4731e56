"""A pass over due towns: the boundary of an error is the town."""

import pytest

from shared.domain.steps import drive
from shared.engine import worker
from shared.engine.dispatch import WarmImages, run_due_towns
from tests.towns import a_town
from tests.worlds import World


def test_a_town_that_meets_a_bug_does_not_hold_up_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().put_in(a_town("a-broken")).put_in(a_town("b-healthy"))
    real = worker.tick.run

    def tick_with_a_bug(sql: object, given: object, *, town_id: str) -> object:
        if town_id == "a-broken":
            raise KeyError("a bug that only this town meets")
        return real(sql, given, town_id=town_id)  # type: ignore[arg-type]

    monkeypatch.setattr(worker.tick, "run", tick_with_a_bug)
    warm = WarmImages()
    report = drive(run_due_towns(world.around, warm, worker_id=world.worker_id))

    assert [failed.town_id for failed in report.failed] == ["a-broken"]
    assert isinstance(report.failed[0].error, KeyError)
    assert [run.town_id for run in report.runs] == ["b-healthy"]
    assert warm.get("a-broken") is None
