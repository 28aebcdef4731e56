"""How the outputs of a tick are compared with those in its journal row."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.times import to_text
from shared.history.differences import Difference, of_outputs
from shared.ports.town_past import JournalRow
from shared.town import database
from tests.towns import T


def recorded(outputs: dict[str, Any]) -> JournalRow:
    return {
        "tick_no": 7,
        "tick_id": "7-test",
        "now": to_text(T - timedelta(minutes=1)),
        "code_version": "earlier",
        "sqlite_version": database.SQLITE_VERSION,
        "config_digest": "",
        "prev_image_digest": "",
        "inputs": {},
        "outputs": outputs,
    }


def test_a_figure_that_an_earlier_release_did_not_count_is_no_difference() -> None:
    row = recorded({"metrics": {"events_drained": 2}})
    assert of_outputs(row, {"metrics": {"events_drained": 2, "merges_unproven": 0}}) == ()


@pytest.mark.parametrize(
    ("now_counted", "column", "expected", "got"),
    [
        ({"events_drained": 2, "merges_unproven": 1}, "outputs.metrics.merges_unproven", 0, 1),
        ({"events_drained": 3, "merges_unproven": 0}, "outputs.metrics.events_drained", 2, 3),
    ],
)
def test_a_figure_that_differs_is_told(now_counted: dict[str, int], column: str, expected: int, got: int) -> None:
    row = recorded({"metrics": {"events_drained": 2}})
    assert of_outputs(row, {"metrics": now_counted}) == (Difference("ticks", "7", column, expected, got),)


def test_a_figure_that_is_counted_no_longer_is_told() -> None:
    [found] = of_outputs(recorded({"metrics": {"events_drained": 0}}), {"metrics": {}})
    assert (found.column, found.expected) == ("outputs.metrics.events_drained", 0)
