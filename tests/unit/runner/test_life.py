"""What a process may still begin before its end: the last moments, against the figures that the functions had before."""

from datetime import timedelta

import pytest

from shared.runner.life import DISPATCHER_TURN, RETENTION_TURN, SLOWEST_EFFECT, WORKER_TURN, Life
from tests.towns import T


@pytest.mark.parametrize(
    ("turn", "seconds"),
    [(DISPATCHER_TURN, 10), (WORKER_TURN, 90), (RETENTION_TURN, 60)],
    ids=["dispatcher", "worker", "retention"],
)
def test_no_town_is_begun_so_long_before_the_end(turn: timedelta, seconds: int) -> None:
    assert T - Life(T, turn).begin_town_until == timedelta(seconds=seconds)


def test_no_commit_is_begun_in_the_last_four_seconds_and_no_effect_whose_answer_would_come_in_them() -> None:
    life = Life(T, WORKER_TURN)
    assert T - life.begin_commit_until == timedelta(seconds=4)
    assert T - life.begin_effect_until(SLOWEST_EFFECT) == timedelta(seconds=64)


def test_a_worker_that_begins_a_town_in_time_has_time_for_the_slowest_effect() -> None:
    life = Life(T, WORKER_TURN)
    assert life.begin_effect_until(SLOWEST_EFFECT) > life.begin_town_until
