"""Every alarm has a page with the same parts, and its commands are commands that townctl and the functions accept."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.schedule import ScheduledCall
from infra.ops.dashboards import alarms
from infra.townctl import command_line
from tests.conventions.sources import ROOT

PAGES = sorted((ROOT / "docs/runbook").glob("*.md"))
TOWNCTL = re.compile(r"(?:^ *|`)townctl ([^`\n]+)", re.MULTILINE)
OF_THE_PLACE = re.compile(r"--(?:bucket|data|api) \S+ ?")
OF_THE_SHELL = re.compile(r" [<>&] ?\S*$")
RUN_FOR_REAL = "local-debugging"
PARTS = ["Look first", "Do", "It is over when"]
EVENT = re.compile(r'remote invoke TickFunction .*--event "(.*)"`?$', re.MULTILINE)


@pytest.mark.parametrize("name", alarms.names())
def test_a_page_says_what_an_alarm_means_where_to_look_what_to_do_and_when_it_is_over(name: str) -> None:
    text = (ROOT / f"docs/runbook/{name}.md").read_text(encoding="utf-8")
    title, _, rest = text.partition("\n\n")
    assert title.startswith("# ")
    assert rest.startswith(f"Alarm `{name}`: ")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == PARTS
    assert "```" in text.partition("## Look first")[2].partition("## Do")[0]


def test_the_first_page_leads_to_every_alarm_and_every_other_page() -> None:
    linked = re.findall(r"\]\(([\w-]+)\.md\)", (ROOT / "docs/runbook/README.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted({page.stem for page in PAGES} - {"README"})


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != RUN_FOR_REAL], ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one_that_townctl_knows(page: Path) -> None:
    app = command_line.parser()
    for written in TOWNCTL.findall(page.read_text(encoding="utf-8")):
        plain = OF_THE_SHELL.sub("", OF_THE_PLACE.sub("", written))
        words = shlex.split(plain.replace(" N", " 1"), comments=True)
        if len(words) > 1:  # a single word is the name of a command, not a call
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
