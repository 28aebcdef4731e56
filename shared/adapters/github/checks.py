"""The newest run of each check decides (decision T5): which runs are superseded, and what the others say about a merge.

Superseded is a run of the same app, workflow, event and name in an older check suite; in the same suite it is one that ended before
the newer one started. A skipped run supersedes nothing. A run that has not started is the newest. Of legacy statuses, the
newest of each context counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from shared.adapters.github.contexts import CheckContext
from shared.domain.times import parse_iso
from shared.ports.forge import Feedback

_FAILED: Final = frozenset(
    {"FAILURE", "TIMED_OUT", "CANCELLED", "ACTION_REQUIRED", "STARTUP_FAILURE", "STALE", "ERROR"}
)
_PASSED: Final = frozenset({"SUCCESS", "NEUTRAL", "SKIPPED"})
_LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a check. `check` tells which check it is; runs of one check supersede one another."""

    check: tuple[str, ...]
    name: str
    outcome: str
    suite: int
    number: int
    is_required: bool
    started_at: datetime
    ended_at: datetime

    @property
    def age(self) -> tuple[int, datetime, int]:
        """By which runs of one check are ordered, the newest last."""
        return (self.suite, self.started_at, self.number)


def run_of(context: CheckContext) -> Run:
    """The run that a context describes. A run without a beginning or an end is the newest, and ends last."""
    if context.kind == "StatusContext":
        at = _time(context.created_at)
        outcome = context.state or "PENDING"
        return Run(("status", context.context), context.context, outcome, 0, 0, context.is_required, at, at)
    suite = context.suite
    about = ("", "", "")
    if suite is not None:
        run = suite.run
        app = "" if suite.app is None else suite.app.slug
        about = (app, "", "") if run is None else (app, run.workflow.name, run.event)
    return Run(
        ("run", *about, context.name),
        context.name,
        context.conclusion or "PENDING",
        0 if suite is None else suite.number or 0,
        context.number or 0,
        context.is_required,
        _time(context.started_at),
        _time(context.completed_at),
    )


def counting(contexts: Sequence[CheckContext]) -> list[Run]:
    """The runs that are not superseded, in the order in which GitHub lists them."""
    runs = [run_of(context) for context in contexts]
    return [run for run in runs if not any(_supersedes(newer, run) for newer in runs if newer is not run)]


def _supersedes(newer: Run, run: Run) -> bool:
    if newer.check != run.check or newer.age <= run.age or newer.outcome == "SKIPPED":
        return False
    return newer.check[0] == "status" or newer.suite > run.suite or run.ended_at < newer.started_at


def with_checks(feedback: Feedback, runs: Sequence[Run], *, required: Sequence[str] | None, unread: bool) -> Feedback:
    """The feedback with what the checks say. `required` are the required names, None if they could not be read.

    A required check that has not reported has no run, so its name is compared. With `unread`, there are more runs.
    """
    outcomes = [run.outcome for run in runs]
    names = {run.name for run in runs}
    missing = tuple(name for name in required or () if name not in names and not unread)
    demanded = [run.outcome for run in runs if run.is_required or run.name in (required or ())]
    return replace(
        feedback,
        has_checks=bool(runs) or unread,
        has_failing_checks=any(outcome in _FAILED for outcome in outcomes),
        all_checks_pass=not unread and not missing and all(outcome in _PASSED for outcome in outcomes),
        required_known=required is not None and not unread,
        required_failing=any(outcome in _FAILED for outcome in demanded),
        required_pass=bool(demanded) and not missing and all(outcome in _PASSED for outcome in demanded),
        required_missing=missing,
    )


def _time(text: str | None) -> datetime:
    """A time of GitHub; the end of all time if there is none or it cannot be read."""
    try:
        return _LAST if text is None else parse_iso(text)
    except ValueError:
        return _LAST
