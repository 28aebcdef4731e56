"""Every tick of every scenario is run again from its record: no rule, event or action is left out of replay."""

import pytest

from tests.towns import TownBuilder


@pytest.fixture(autouse=True)
def _every_tick_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TownBuilder, "replays", True)
