"""Who can end a wait, and the command for it."""

import shlex

import pytest

from infra.townctl.command_line import parser
from infra.ui import remedies, words
from infra.ui.remedies import Remedy, remedies_of, reopening, taking_back
from shared.questions.reasons import SETTING_OF
from shared.questions.setting_changes import SettingChange
from shared.questions.waiting import BY_PEOPLE, REASONS, Guard, Need, Waiting, WaitingReason
from tests.towns import T, TownBuilder, a_town


def of(town: TownBuilder, row: str) -> list[tuple[str, str | None]]:
    return [(each.does, each.command) for each in remedies_of(town.waiting_of(row), "t1")]


def test_a_bead_behind_a_failed_one_is_helped_by_reopening_it() -> None:
    """The table of explain said that the failed bead itself could end the wait."""
    town = a_town().bead("first", status="failed").bead("next").edge("next", "first")
    assert of(town, "next") == [
        ("reopen {bead}", "townctl bead reopen t1 first"),
        (
            "let the town go on without failed beads",
            "townctl setting set t1 on_failed_dependency proceed",
        ),
    ]


def test_the_failed_bead_itself_offers_the_same() -> None:
    town = a_town().bead("first", status="failed")
    assert of(town, "first") == [("reopen {bead}", "townctl bead reopen t1 first")]
    assert [reopening("first", "t1")] == [*remedies_of(town.waiting_of("first"), "t1")]


def test_a_held_bead_is_released_and_a_staged_convoy_is_started() -> None:
    town = a_town().bead("b", labels=["gt:held"]).bead("t").convoy("c", tracked=["t"], staged=1)
    assert of(town, "b") == [("release {bead}", "townctl bead update t1 b --release")]
    assert of(town, "t")[0] == ("start {bead}", "townctl convoy start t1 c")


def test_the_mayor_is_told_something() -> None:
    assert of(a_town().agent("m", "mayor", "waiting", rig=None), "m") == [
        ("tell the mayor something", 'townctl mayor say t1 "..."')
    ]


def test_a_review_that_waits_for_an_approval_is_approved_at_the_forge() -> None:
    waiting = _waits("awaiting_approval", Need("pr_polled", "b", ("forge",)))
    assert [*remedies_of(waiting, "t1")] == [Remedy("a reviewer", "approve its pull request", "b", None)]


def test_the_setting_of_the_town_is_said_and_not_also_that_of_its_rig() -> None:
    needs = (
        Need("town_configured", None, ("operator",), "budget.per_bead"),
        Need("rig_registered", None, ("operator",)),
    )
    assert [each.command for each in remedies_of(_waits("budget_spent", *needs), "t1")] == [
        "townctl setting set t1 budget.per_bead ..."
    ]


def test_a_bead_without_a_rig_is_given_one() -> None:
    [(does, command)] = of(a_town().bead("b", rig_id=None), "b")
    assert (does, command) == (
        "give {bead} a rig",
        """townctl event post t1 --type bead_updated --bead b --payload '{"rig_id": "..."}'""",
    )


def test_an_id_with_signs_of_the_shell_is_quoted() -> None:
    assert reopening("it's", "t1").command == """townctl bead reopen t1 'it'"'"'s'"""


def test_every_command_is_one_that_townctl_knows() -> None:
    senders = ("operator",)
    events = [Need(each, "b", senders) for each in remedies._ACTS]
    settings = [Need("town_configured", None, senders, each) for each in remedies._SETTINGS]
    found = {
        remedy.command
        for reason in REASONS
        for need in (*events, *settings)
        for remedy in remedies_of(_waits(reason, need), "t1")
        if remedy.command is not None
    }
    assert len(found) > len(events)
    for command in found:
        arguments = shlex.split(command.partition(" <")[0])[1:]
        parser(arguments).parse_args(arguments, exit_on_error=False, print_error=False)


def test_every_setting_that_ends_a_wait_has_its_words() -> None:
    assert set(SETTING_OF.values()) <= set(remedies._SETTINGS)


@pytest.mark.parametrize("reason", REASONS)
def test_the_reasons_that_a_person_ends_are_the_same_for_the_town_and_in_words(reason: WaitingReason) -> None:
    assert words.needs_person(reason) == (reason in BY_PEOPLE)


def _waits(reason: WaitingReason, *needs: Need) -> Waiting:
    guard = Guard(reason, "it waits", T)
    return Waiting("b", reason, T, None, None, None, (guard,), needs, None, None)


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (SettingChange("merge_strategy", None, "direct", "pr"), "townctl setting set t1 merge_strategy direct"),
        (SettingChange("merge_strategy", "r", None, "pr"), "townctl setting set t1 merge_strategy null --rig r"),
        (SettingChange("refinery.gates", None, ["make"], []), """townctl setting set t1 refinery.gates '["make"]'"""),
        (SettingChange("merge_strategy", None, None, "pr", old_known=False), None),
        (SettingChange("git_url", "r", "https://a.example", "https://b.example"), None),
        (SettingChange("budget", "r", {"per_bead": {"tokens": 5}}, None), None),
    ],
)
def test_a_change_of_a_setting_is_taken_back_by_a_command_if_one_can(
    change: SettingChange, command: str | None
) -> None:
    assert taking_back("t1", change) == command
    if command is not None:
        arguments = shlex.split(command)[1:]
        parser(arguments).parse_args(arguments, exit_on_error=False, print_error=False)
