"""The town's container: its token and its sleep."""

import pytest

from shared.actions import Action, RefreshContainerToken, StopContainer
from shared.domain.outcomes import Applied, Skipped
from tests.towns import a_town
from tests.unit.actions.builders import TICK_NO, Effect, on

MAYOR = [{"agent_id": "mayor", "generation": None}]
"""Every session of the mayor coordinates."""


@pytest.mark.parametrize(
    ("action", "effect"),
    [
        (RefreshContainerToken(), ("refresh_token", "container", TICK_NO, {"town_id": "t1", "coordinators": MAYOR})),
        (
            StopContainer(reason="mayor_idle_7m"),
            ("stop_container", "container", TICK_NO, {"town_id": "t1", "reason": "mayor_idle_7m"}),
        ),
    ],
    ids=["refresh_container_token", "stop_container"],
)
def test_the_container_is_asked_once_a_tick_and_nothing_is_stored(action: Action, effect: Effect) -> None:
    stage = on(a_town())
    keys = stage.rows.rows("SELECT key, value FROM town ORDER BY key")
    assert stage.apply(action) == Applied()
    assert stage.effects == [effect]
    assert stage.rows.rows("SELECT key, value FROM town ORDER BY key") == keys
    assert stage.refused(action) == Skipped("duplicate effect")
