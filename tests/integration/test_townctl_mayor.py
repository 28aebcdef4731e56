"""`townctl mayor`: what a person says, the mayor's answer, and what is the matter where none comes."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.townctl import mayor
from shared.adapters.clock import SystemClock
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.limits import BODY_SIZE
from tests.fakes import FakeClock
from tests.integration.townctl_calls import Townctl
from tests.scenarios.table import scenario
from tests.towns import a_town, event
from tests.worlds import World, a_world

TOWN = "alpha"
Meanwhile = Callable[..., None]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A town in a data directory, at the present time, with a mayor at work."""
    world = a_world(objects=DirectoryObjects(tmp_path / "data"))
    world.clock = FakeClock(SystemClock().now())
    return world.put_in(a_town(TOWN).update("agent_metadata", "mayor", status="working", generation=1))


@pytest.fixture
def townctl(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    return Townctl(tmp_path / "data", capsys)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """What happens while townctl waits: one thing in each pause, and nothing after the last one. It then never waits in earnest."""

    def happens(*things: Callable[[], object]) -> None:
        coming = iter(things)
        monkeypatch.setattr(mayor, "time", SimpleNamespace(sleep=lambda _: next(coming, lambda: None)()))

    return happens


def ticks(world: World) -> None:
    world.clock.move(seconds=5)
    world.run(town_id=TOWN)


def answers(world: World) -> None:
    [(message_id,)] = world.town(TOWN).rows("SELECT bead_id FROM beads WHERE type = 'message'")
    world.post(event("mayor_said", {"text": "It runs.", "in_reply_to": message_id}, agent="mayor"), town_id=TOWN)
    ticks(world)


def test_what_is_said_and_what_is_answered_is_in_the_log(world: World, townctl: Townctl) -> None:
    said = townctl("mayor", "say", TOWN, "Plan a parser.\nStart it.")
    assert (said.code, "`townctl mayor log alpha --follow` shows the answer" in said.out) == (0, True)
    ticks(world)
    answers(world)
    log = townctl("mayor", "log", TOWN)
    assert log.code == 0
    assert " to mayor (" in log.out
    assert "delivered" in log.out
    assert "  Plan a parser.\n  Start it.\n" in log.out
    assert log.out.index("Plan a parser.") < log.out.index("It runs.")
    both = townctl.document("mayor", "log", TOWN)["messages"]
    assert [(letter["text"], letter["to"]) for letter in both] == [
        ("It runs.", "people"),
        ("Plan a parser.\nStart it.", "mayor"),
    ]


def test_a_hyphen_reads_standard_input(world: World, townctl: Townctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Plan é.\n".encode())))
    assert townctl("mayor", "say", TOWN, "-").code == 0
    ticks(world)
    [letter] = townctl.document("mayor", "log", TOWN)["messages"]
    assert letter["text"] == "Plan é.\n"


def test_standard_input_that_is_no_text_is_refused(townctl: Townctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00")))
    refused = townctl("mayor", "say", TOWN, "-")
    assert (refused.code, "not UTF-8" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((TOWN, ""), "the text is empty"),
        ((TOWN, " \n"), "the text is empty"),
        ((TOWN, "x" * (BODY_SIZE + 1)), f"at most {BODY_SIZE}"),
        (("beta", "Plan it."), "beta"),
        ((TOWN,), "text"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_stored(
    world: World, townctl: Townctl, words: tuple[str, ...], why: str
) -> None:
    refused = townctl("mayor", "say", *words)
    assert (refused.code, why in refused.err.lower()) == (2, True), refused.err
    assert world.inbox(TOWN) == ()


@scenario(548)
def test_follow_shows_the_answer(world: World, townctl: Townctl, meanwhile: Meanwhile) -> None:
    meanwhile(lambda: ticks(world), lambda: answers(world))
    said = townctl("mayor", "say", TOWN, "Plan a parser.", "--follow")
    assert said.code == 0, said.err
    assert "  It runs.\n" in said.out
    assert "no answer" not in said.out


@scenario(548)
def test_follow_ends_with_what_is_the_matter_if_no_mayor_can_be_started(
    world: World, townctl: Townctl, meanwhile: Meanwhile
) -> None:
    world.runtime = None  # type: ignore[assignment]
    meanwhile(*[lambda: ticks(world)] * 3)
    said = townctl("mayor", "say", TOWN, "Plan a parser.", "--follow")
    assert said.code == 1
    assert "not delivered: no agent runtime is configured" in said.out
    assert "no answer so far; the message is kept" in said.out
    assert "not delivered: no agent runtime" in townctl("mayor", "log", TOWN).out


@scenario(548)
def test_follow_ends_where_no_tick_takes_the_message(townctl: Townctl, meanwhile: Meanwhile) -> None:
    meanwhile()
    said = townctl("mayor", "say", TOWN, "Plan a parser.", "--follow")
    assert said.code == 1
    assert "no tick has taken the message yet" in said.out
    assert "townctl run" in said.out


@scenario(548)
def test_follow_ends_if_a_mayor_that_has_the_message_never_answers(
    world: World, townctl: Townctl, meanwhile: Meanwhile
) -> None:
    meanwhile(lambda: ticks(world), lambda: ticks(world))
    said = townctl("mayor", "say", TOWN, "Plan a parser.", "--follow", "--json")
    assert (said.code, said.document["delivered"], said.document["inReplyTo"]) == (1, True, None)


@scenario(548)
def test_a_town_that_never_ticked_has_no_mayor_who_could_read(townctl: Townctl) -> None:
    townctl.document("town", "create", "fresh")
    refused = townctl("mayor", "say", "fresh", "Plan it.")
    assert (refused.code, "town fresh has no mayor" in refused.err) == (2, True)
    assert "town fresh has no mayor: messages wait until it has one" in townctl("mayor", "log", "fresh").out
