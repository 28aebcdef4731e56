"""The pull requests of the demo: the state of each, and a check that they show what the demo promises."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import RenderableType

from infra.demo.stage import Stage
from infra.devstack.fake_forge import Pull
from infra.townctl.output import table
from shared.domain.report import TickReport
from shared.domain.shapes import answer

_AWAITED: Final = "pr.awaiting_approval_detected"


@answer
class PullRequest:
    """A pull request at the fake GitHub: how often it was merged, and how many review comments it has."""

    number: int
    title: str
    head: str
    base: str
    state: str
    merges: int
    threads: int
    approved: bool


def pull_requests(stage: Stage) -> tuple[PullRequest, ...]:
    """Every pull request, oldest first."""
    return tuple(
        PullRequest(
            number=pull.number,
            title=pull.title,
            head=pull.head,
            base=pull.base,
            state=pull.state,
            merges=pull.merges,
            threads=len(pull.threads),
            approved=pull.decision == "APPROVED",
        )
        for pull in _pulls(stage)
    )


def tell_pulls(stage: Stage) -> Iterator[RenderableType]:
    """Every pull request, as a table."""
    rows = [
        (
            f"#{pull.number}",
            pull.title,
            pull.base,
            _checked(pull),
            pull.decision or "",
            f"{pull.state} {(pull.merge_sha or '')[:7]}",
        )
        for pull in _pulls(stage)
    ]
    title = "\nPull requests at the fake GitHub"
    yield table("", "title", "into", "comments", "review", "state", rows=rows, title=title)


def missing_of_pulls(stage: Stage, reports: Sequence[TickReport]) -> str:
    """The promise of the demo that was not kept; empty if all were, or if the demo lands without pull requests."""
    if stage.github is None:
        return ""
    pulls = _pulls(stage)
    if any(pull.merges != 1 for pull in pulls):
        return "a pull request was not merged exactly once"
    if not any(pull.threads for pull in pulls) or not all(all(pull.threads.values()) for pull in pulls):
        return "no review comment was made, or one was not resolved"
    if not any(told.name == _AWAITED for report in reports for told in report.business_events):
        return "the town never waited for an approval"
    return ""


def _pulls(stage: Stage) -> list[Pull]:
    return [] if stage.github is None else list(stage.github.site.pulls)


def _checked(pull: Pull) -> str:
    return f"{sum(pull.threads.values())} of {len(pull.threads)} resolved" if pull.threads else ""
