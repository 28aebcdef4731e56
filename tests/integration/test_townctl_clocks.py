"""Towns from the future and clocks of towns on the command line: what townctl says to do is enough to go on."""

import re
import shlex
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.clock import SystemClock, wait_for
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.times import from_text
from shared.ports.steps import drive
from shared.runner.founding import found_town
from shared.runner.surroundings import Surroundings
from shared.storage.towns import ObjectTownStore
from tests.fakes import FakeClock
from tests.integration.townctl_calls import Townctl


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Townctl]:
    townctl = Townctl(tmp_path / "data", capsys)
    yield townctl
    townctl.kill_all()


@pytest.mark.slow
def test_an_imported_town_from_the_future_goes_on_as_the_error_says(townctl: Townctl, tmp_path: Path) -> None:
    """It has no earlier commit that could be restored."""
    store = ObjectTownStore(DirectoryObjects(townctl.data))
    tomorrow = FakeClock(SystemClock().now() + timedelta(days=1))
    drive(found_town("ahead", Surroundings(store, tomorrow, own_clock=True), worker_id="founder"))
    assert townctl("run", "--once", "--towns", "ahead").code == 0
    file = str(tmp_path / "ahead.jsonl")
    townctl.document("export", "ahead", file)
    townctl.document("import", file, "copy")
    townctl.document("start", "copy")

    refused = townctl("tick", "copy", "--json")
    assert refused.code == 2
    assert "from the future" in refused.error["message"]
    [found] = [each for each in townctl("doctor", "copy", "--json").document["findings"] if each["check"] == "clock"]
    assert "from the future" in found["problem"], "seen: doctor was content with it"
    assert found["hint"]
    advised = re.search("`townctl (run [^`]+)`", refused.error["hint"])
    assert advised is not None
    loop = townctl.started(*shlex.split(advised[1]))
    is_started = wait_for(lambda: not townctl.document("town", "status", "copy")["paused"], seconds=60, every=0.2)
    loop.send_signal(signal.SIGINT)
    said = loop.communicate(timeout=60)
    assert is_started, said
    assert loop.returncode == 0, said
    assert townctl("doctor", "copy").code == 0


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf"])
def test_a_speed_that_no_clock_has_is_refused_for_what_it_is_beside_other_towns_too(
    townctl: Townctl, speed: str
) -> None:
    townctl.document("town", "create", "alpha")
    townctl.document("town", "create", "beta")
    refused = townctl("run", "--once", f"--speed={speed}", "--json")
    assert refused.code == 2
    assert "--speed must be a number above 0" in refused.error["message"]
    assert refused.error["hint"] == "use 1 for real time"


def test_a_town_with_its_own_clock_receives_events_by_that_clock(townctl: Townctl) -> None:
    """Seen: an event posted to a town that is an hour ahead had waited for an hour at once, and alarmed."""
    store = ObjectTownStore(DirectoryObjects(townctl.data))
    ahead = FakeClock(SystemClock().now() + timedelta(hours=1))
    drive(found_town("ahead", Surroundings(store, ahead, own_clock=True), worker_id="founder"))
    assert townctl("run", "--once", "--towns", "ahead").code == 0
    townctl.document("event", "post", "ahead", "--type", "nudge_timeout")
    [waiting] = townctl.document("event", "list", "ahead", "--pending")["events"]
    assert from_text(waiting["receivedAt"]) >= ahead.now()
    alarms = townctl.document("town", "status", "ahead")["alarms"]
    assert [each["alarm"] for each in alarms if each["raised"]] == []
    assert townctl("run", "--once", "--towns", "ahead").code == 0
    assert townctl.document("event", "list", "ahead", "--pending")["events"] == []
