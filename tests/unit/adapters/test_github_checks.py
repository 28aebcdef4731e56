"""Which runs of a check at GitHub are superseded (decision T5), and what the others say."""

from typing import Any

import pytest

from shared.adapters.github.checks import counting, run_of, with_checks
from shared.adapters.github.contexts import CheckContext
from shared.ports.forge import Feedback


def a_run(
    conclusion: str | None,
    *,
    number: int,
    suite: int = 1,
    name: str = "build",
    app: str | None = "ci",
    workflow: str | None = "CI",
    event: str = "push",
    minutes: tuple[int | None, int | None] = (0, 5),
) -> CheckContext:
    started, ended = (None if minute is None else f"2026-01-10T12:{minute:02}:00Z" for minute in minutes)
    run: Any = None if workflow is None else {"event": event, "workflow": {"name": workflow}}
    about = {
        "__typename": "CheckRun",
        "databaseId": number,
        "name": name,
        "conclusion": conclusion,
        "startedAt": started,
        "completedAt": ended,
        "checkSuite": {"databaseId": suite, "app": None if app is None else {"slug": app}, "workflowRun": run},
    }
    return CheckContext.model_validate(about)


def a_status(state: str, *, minute: int, context: str = "legacy") -> CheckContext:
    at = f"2026-01-10T12:{minute:02}:00Z"
    return CheckContext.model_validate(
        {"__typename": "StatusContext", "context": context, "state": state, "createdAt": at}
    )


def outcomes(*contexts: CheckContext) -> list[str]:
    return [run.outcome for run in counting(contexts)]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_green_run_in_a_newer_suite_supersedes_a_cancelled_one_in_whatever_order_they_are_listed(
    reverse: bool,
) -> None:
    runs = [a_run("CANCELLED", number=1, suite=1), a_run("SUCCESS", number=2, suite=2)]
    assert outcomes(*(reversed(runs) if reverse else runs)) == ["SUCCESS"]


def test_in_one_suite_only_a_run_that_ended_before_the_newer_one_started_is_superseded() -> None:
    first, again = a_run("FAILURE", number=1, minutes=(0, 5)), a_run("SUCCESS", number=2, minutes=(6, 8))
    beside = a_run("SUCCESS", number=3, minutes=(3, 8))
    assert outcomes(first, again) == ["SUCCESS"]
    assert outcomes(first, beside) == ["FAILURE", "SUCCESS"]


def test_a_run_that_waits_to_start_is_the_newest() -> None:
    green, again = a_run("SUCCESS", number=1), a_run(None, number=2, minutes=(None, None))
    assert outcomes(green, again) == ["PENDING"]
    assert outcomes(again, green) == ["PENDING"]


def test_of_two_runs_that_wait_in_one_suite_both_count() -> None:
    waiting = [a_run(None, number=number, minutes=(None, None)) for number in (1, 2)]
    assert outcomes(*waiting) == ["PENDING", "PENDING"]


def test_a_run_that_is_still_going_on_is_not_superseded_in_its_own_suite() -> None:
    assert outcomes(a_run(None, number=1, minutes=(0, None)), a_run("SUCCESS", number=2, minutes=(1, 2))) == [
        "PENDING",
        "SUCCESS",
    ]


@pytest.mark.parametrize("newer_suite", [1, 2])
def test_a_skipped_run_supersedes_nothing_and_a_later_one_supersedes_it(newer_suite: int) -> None:
    failed = a_run("FAILURE", number=1, suite=1, minutes=(0, 1))
    skipped = a_run("SKIPPED", number=2, suite=newer_suite, minutes=(2, 2))
    green = a_run("SUCCESS", number=3, suite=newer_suite, minutes=(3, 4))
    assert outcomes(failed, skipped) == ["FAILURE", "SKIPPED"]
    assert outcomes(failed, skipped, green) == ["SUCCESS"]


@pytest.mark.parametrize(
    "other", [{"app": "another"}, {"app": None}, {"workflow": "Nightly"}, {"workflow": None}, {"event": "pull_request"}]
)
def test_runs_of_the_same_name_by_another_app_workflow_or_event_are_other_checks(other: dict[str, Any]) -> None:
    assert outcomes(a_run("FAILURE", number=1, suite=1), a_run("SUCCESS", number=2, suite=2, **other)) == [
        "FAILURE",
        "SUCCESS",
    ]


def test_of_a_legacy_status_the_newest_of_each_context_counts() -> None:
    found = outcomes(
        a_status("FAILURE", minute=1), a_status("SUCCESS", minute=2), a_status("PENDING", minute=0, context="x")
    )
    assert found == ["SUCCESS", "PENDING"]


def test_a_check_run_and_a_status_of_the_same_name_are_two_checks() -> None:
    assert outcomes(a_run("FAILURE", number=1, name="legacy"), a_status("SUCCESS", minute=9)) == ["FAILURE", "SUCCESS"]


def judged(*contexts: CheckContext, required: tuple[str, ...] | None) -> Feedback:
    return with_checks(Feedback(), [run_of(each) for each in contexts], required=required, unread=False)


def test_a_required_check_that_has_not_reported_is_named_and_nothing_passes() -> None:
    found = judged(a_run("SUCCESS", number=1), required=("build", "deploy"))
    assert (found.required_missing, found.required_pass, found.all_checks_pass) == (("deploy",), False, False)


def test_required_checks_pass_beside_one_that_is_not_required_and_fails() -> None:
    found = judged(a_run("SUCCESS", number=1), a_run("FAILURE", number=2, name="lint"), required=("build",))
    assert (found.required_pass, found.required_failing, found.has_failing_checks) == (True, False, True)


def test_without_any_required_check_there_is_nothing_that_passes_as_required() -> None:
    found = judged(a_run("SUCCESS", number=1), required=())
    assert (found.required_known, found.required_pass, found.required_missing) == (True, False, ())


def test_where_the_required_names_cannot_be_read_none_is_missing() -> None:
    found = judged(a_run("SUCCESS", number=1), required=None)
    assert (found.required_known, found.required_missing, found.all_checks_pass) == (False, (), True)
