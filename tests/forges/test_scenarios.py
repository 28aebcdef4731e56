"""Every scenario on every forge."""

from pathlib import Path

import pytest

from tests.forges.grounds import FORGES, ForgeName, ground
from tests.forges.scenarios import AREAS, SCENARIOS, Scenario


@pytest.mark.parametrize("forge", FORGES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.play.__name__)
def test_a_forge_does_as_the_port_promises(scenario: Scenario, forge: ForgeName) -> None:
    with ground(forge) as played:
        scenario.play(played)


@pytest.mark.parametrize(
    "scenario", [each for each in SCENARIOS if each.area == AREAS[5]], ids=lambda each: each.play.__name__
)
def test_plain_git_proves_what_a_forge_proves(scenario: Scenario, tmp_path: Path) -> None:
    with ground("plain git", tmp_path) as played:
        scenario.play(played)


def test_every_area_has_scenarios_and_none_is_there_twice() -> None:
    assert [area for area in AREAS if not any(each.area == area for each in SCENARIOS)] == []
    names = [each.play.__name__ for each in SCENARIOS]
    assert len(names) == len(set(names))
