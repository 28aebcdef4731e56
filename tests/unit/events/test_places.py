"""What must be touched to add an event type: docs/changing.md says all of it, and each place that is forgotten is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.events import BY_TYPE, EVENTS
from shared.events.base import Event
from tests.conventions.sources import ROOT, files_under, name_of
from tests.unit.events import places
from tests.unit.events.catalogue import CATALOGUE


def test_every_event_stands_in_every_place_in_code_and_tests() -> None:
    assert places.missing_in_code_and_tests() == []
    assert list(BY_TYPE) == [event.event_type for event in EVENTS] == list(CATALOGUE)


def test_every_event_stands_in_the_specification() -> None:
    assert places.missing_in_specification() == []


def test_a_class_that_does_not_say_who_may_send_it_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"test_places\.AgentNapped needs `senders = "):
        type("AgentNapped", (Event,), {"event_type": "agent_napped", "__module__": "test_places"})


CLASS = '''

class AgentNapped(Event):
    """An agent rested for a while; for display only."""

    event_type = "agent_napped"
    needs = ("agent_id",)
    senders = frozenset({"agent", "operator"})

    minutes: Generation

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Nothing changes."""
        return EventResult(Applied())
'''
STEPS = {
    "class": (
        "shared/events/agents.py",
        '        """Change nothing; the stored event is the record."""\n        return EventResult(Applied())\n',
        CLASS,
    ),
    "EVENTS": ("shared/events/__init__.py", "    AgentHeartbeat,\n", "    AgentNapped,\n"),
    "catalogue": (
        "tests/unit/events/catalogue.py",
        '    "agent_heartbeat": PROCESSES,\n',
        '    "agent_napped": "agent operator",\n',
    ),
    "histories": (
        "tests/properties/facts.py",
        '    "agent_heartbeat": _agent_heartbeat,\n',
        '    "agent_napped": lambda town, pick, _: Fact({"minutes": 1}, town.an_agent(pick).id),\n',
    ),
    "specification": (
        "docs/spec/events.md",
        "| agent_heartbeat | ... | ... |\n",
        "| agent_napped | agent_id; minutes | none |\n",
    ),
}
"""As docs/changing.md says it: the file, the line that is there, and what follows it from then on (an import and an entry)."""

NEEDED = ("facts.py", "outside.py", "views.py", "__init__.py")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what knows the events, with a specification that has a row for each."""
    sources = files_under("shared") + files_under("shared", suffix=".sql") + files_under("tests/unit/events")
    beside = [path for path in files_under("tests") if path.parent.name == "tests"]
    histories = [path for path in files_under("tests/properties") if path.name in NEEDED]
    for path in (*sources, *beside, *histories):
        target = tmp_path / name_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    specification = tmp_path / places.SPECIFICATION
    specification.parent.mkdir(parents=True)
    specification.write_text("".join(f"| {name} | ... | ... |\n" for name in CATALOGUE), encoding="utf-8")
    return tmp_path


def add(project: Path, *steps: str) -> None:
    for step in steps:
        name, line, added = STEPS[step]
        file = project / name
        text = file.read_text(encoding="utf-8")
        assert line in text
        file.write_text(text.replace(line, line + added), encoding="utf-8")


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-B", *arguments], check=False, cwd=project, capture_output=True, text=True)


@pytest.mark.slow
def test_an_event_that_stands_in_every_place_is_accepted_from_its_senders_alone(project: Path) -> None:
    add(project, *STEPS)
    ran = run(project, "-m", "tests.unit.events.places")
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "", "")

    code = """
from datetime import datetime, UTC
from shared.domain.errors import Refused
from shared.intake import ingest
from shared.domain.senders import Sender

event = {"event_id": "event-0001", "event_type": "agent_napped", "agent_id": "toast", "payload": {"minutes": 5}}
for scope, agent in (("agent", "toast"), ("coordinator", "toast"), ("container", None), ("operator", None)):
    try:
        sender = Sender(scope, agent)
        ingest.batch_of([event], received_at=datetime.now(UTC), sent_by=sender)
        print(scope)
    except Refused as refused:
        print(scope, refused.status)
"""
    ran = run(project, "-c", code)
    assert ran.stdout.split("\n")[:4] == ["agent", "coordinator 403", "container 403", "operator"]


@pytest.mark.slow
def test_each_place_that_is_forgotten_is_named(project: Path) -> None:
    add(project, "class")
    ran = run(project, "-m", "tests.unit.events.places")
    assert (ran.returncode, ran.stdout.splitlines()) == (
        1,
        ["agent_napped: add AgentNapped to EVENTS in shared/events/__init__.py"],
    )

    add(project, "EVENTS")
    ran = run(project, "-m", "tests.unit.events.places")
    assert (ran.returncode, ran.stdout.splitlines()) == (
        1,
        [
            "agent_napped: add it and its senders to CATALOGUE in tests/unit/events/catalogue.py",
            "agent_napped: add a maker to FACTS in tests/properties/facts.py, so that histories post it",
            "agent_napped: add its row to the catalogue in docs/spec/events.md, section 4",
        ],
    )


@pytest.mark.slow
def test_senders_that_are_forgotten_are_named(project: Path) -> None:
    add(project, "class")
    file = project / "shared/events/agents.py"
    before, napped = file.read_text(encoding="utf-8").split("class AgentNapped")
    forgotten = napped.replace('    senders = frozenset({"agent", "operator"})\n', "", 1)
    assert forgotten != napped
    file.write_text(f"{before}class AgentNapped{forgotten}", encoding="utf-8")
    ran = run(project, "-m", "tests.unit.events.places")
    assert ran.returncode == 1
    assert "shared.events.agents.AgentNapped needs `senders = frozenset({...})`" in ran.stderr


def test_the_page_for_changes_names_every_place() -> None:
    text = (ROOT / "docs/changing.md").read_text(encoding="utf-8")
    about = text.partition("### An event\n")[2].partition("### An action\n")[0]
    for name in ("shared/events/", "senders", "EVENTS", *(place for place, _, _ in list(STEPS.values())[1:])):
        assert name in about
