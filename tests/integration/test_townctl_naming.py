"""What people type to name a bead, a rule or a town: titles, reasons, both orders, and words that name nothing."""

from pathlib import Path

import pytest

from shared.questions.waiting import REASONS
from tests.integration.townctl_calls import RIG, Townctl


@pytest.fixture
def towns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    """Alpha with a held bead `door`, and beta with `roof`; both have a bead `wall`."""
    townctl = Townctl(tmp_path / "data", capsys)
    for town, own in (("alpha", ("door", "Fix the door")), ("beta", ("roof", "Mend the roof"))):
        townctl.document("town", "create", town)
        townctl.post("rig_registered", RIG, town=town)
        townctl("tick", town, "--force")
        for bead, title in (own, ("wall", f"Build the wall of {town}")):
            townctl.document("bead", "create", town, title, "--held", "--id", bead)
        townctl("tick", town, "--force")
    return townctl


@pytest.mark.parametrize("words", ["door", "door alpha", "alpha door", "door --town alpha"])
def test_the_town_of_an_explanation_may_be_left_out_or_stand_first(towns: Townctl, words: str) -> None:
    assert towns("explain", "bead", *words.split(" ")).out.startswith("bead door of alpha")


@pytest.mark.parametrize("words", ["door", "alpha door"])
def test_the_town_of_a_bead_may_be_left_out(towns: Townctl, words: str) -> None:
    """`bead show door` said that an id is required, where `explain bead door` needed no town."""
    assert towns("bead", "show", *words.split(" ")).out.startswith("issue door of alpha")


def test_a_command_that_changes_a_bead_finds_its_town_too(towns: Townctl) -> None:
    assert towns("bead", "update", "roof", "--release").code == 0
    assert len(towns.document("event", "list", "beta", "--type", "bead_updated")["events"]) == 1


def test_a_bead_of_two_towns_is_asked_about(towns: Townctl) -> None:
    refused = towns("bead", "reopen", "wall")
    assert (refused.code, "2 towns have wall" in refused.err, "alpha, beta" in refused.err) == (2, True, True)


def test_a_town_alone_is_not_taken_for_a_bead(towns: Townctl) -> None:
    assert "BEAD_ID is required" in towns("bead", "show", "alpha").err


def test_a_bead_is_named_by_its_title(towns: Townctl) -> None:
    """`explain bead "Fix the door"` said that the bead had never existed, below the event that created it."""
    assert towns.document("explain", "bead", "Fix the door")["id"] == "door"
    assert towns.document("bead", "show", "fix THE door")["bead"]["beadId"] == "door"
    towns.document("bead", "create", "alpha", "Fix the door", "--held", "--id", "door-2")
    towns("tick", "alpha", "--force")
    assert "ambiguous in town alpha: door, door-2" in towns("explain", "bead", "Fix the door", "alpha").err


@pytest.mark.parametrize("word", ["dor", "the door", "Fix the dor"])
@pytest.mark.parametrize("command", [("explain", "bead"), ("bead", "show")])
def test_a_word_that_names_nothing_is_answered_with_what_is_like_it(
    towns: Townctl, command: tuple[str, str], word: str
) -> None:
    refused = towns(*command, "alpha", word)
    assert refused.code == 2
    assert "did you mean door (Fix the door)" in refused.err


def test_a_waiting_reason_is_explained_as_a_rule_is(towns: Townctl) -> None:
    """It listed 57 codes of rules."""
    shown = towns("explain", "rule", "failed_dependency").out
    assert "a bead that it waits for has failed" in shown
    assert "townctl bead reopen TOWN BEAD" in shown
    for reason in REASONS:
        told = towns.document("explain", "rule", reason)
        assert (told["reason"], bool(told["guards"])) == (reason, True)
    assert "did you mean failed_dependency?" in towns("explain", "rule", "failed_dependancy").err
