"""What the runbook tells somebody who was woken at night to type is something that townctl, sam and the functions take."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.schedule import ScheduledCall
from infra.townctl import main
from shared.adapters.directory_objects import DirectoryObjects
from tests.conventions.sources import ROOT

PAGES = sorted((ROOT / "docs/runbook").glob("*.md"))
TOWNCTL = re.compile(r"`townctl ([^`\n]+)`")
OF_THE_PLACE = re.compile(r"--(?:bucket|data|api) \S+ ?")
EVENT = re.compile(r'remote invoke TickFunction .*--event "(.*)"`?$', re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one_that_townctl_knows(page: Path) -> None:
    app = main._app(DirectoryObjects)
    for written in TOWNCTL.findall(page.read_text(encoding="utf-8")):
        words = OF_THE_PLACE.sub("", written).replace(" N", " 1").split()
        if len(words) > 1:  # alone it is the name of a command, and no call
            app.parse_args(words, exit_on_error=False, print_error=False)


def test_a_call_of_the_dispatcher_by_hand_is_for_the_present_minute() -> None:
    """The pages named the sample event, whose minute is long past: the dispatcher answered `late` and ticked nobody."""
    found = [(page, EVENT.findall(page.read_text(encoding="utf-8"))) for page in PAGES]
    assert {page.stem for page, events in found if events} == {"deploy", "tick-missed"}
    for _, events in found:
        for event in events:
            now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            assert "$(date -u +%FT%TZ)" in event
            ScheduledCall.read(json.loads(event.replace('\\"', '"').replace("$(date -u +%FT%TZ)", now)))
    assert not [page for page in PAGES if "events/tick.json" in page.read_text(encoding="utf-8")]
