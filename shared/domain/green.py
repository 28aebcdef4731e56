"""Whether a pull request may be merged, judged on plain values: the poll and the look immediately before merging ask here.

`Shown` is what a forge shows of a pull request. The answer of the port and the event of a poll both have this form.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shared.domain.forge_errors import Refusal


class Findings(Protocol):
    """What a forge says of comments, checks and reviews: see `shared.ports.forge.Feedback`."""

    @property
    def has_unresolved_comments(self) -> bool: ...  # noqa: D102
    @property
    def has_failing_checks(self) -> bool: ...  # noqa: D102
    @property
    def all_checks_pass(self) -> bool: ...  # noqa: D102
    @property
    def awaiting_approval(self) -> bool: ...  # noqa: D102
    @property
    def changes_requested(self) -> bool: ...  # noqa: D102
    @property
    def merge_state_status(self) -> str | None: ...  # noqa: D102
    @property
    def checks_unreadable(self) -> bool: ...  # noqa: D102
    @property
    def has_checks(self) -> bool: ...  # noqa: D102
    @property
    def required_known(self) -> bool: ...  # noqa: D102
    @property
    def required_failing(self) -> bool: ...  # noqa: D102
    @property
    def required_pass(self) -> bool: ...  # noqa: D102
    @property
    def required_missing(self) -> tuple[str, ...]: ...  # noqa: D102


class IsDraft(Protocol):
    """The part of an identity that is judged here."""

    @property
    def draft(self) -> bool: ...  # noqa: D102


class Shown(Protocol):
    """What a forge shows of an open pull request: see `shared.ports.forge.PullRequest`."""

    @property
    def mergeable_state(self) -> str | None: ...  # noqa: D102
    @property
    def feedback(self) -> Findings | None: ...  # noqa: D102
    @property
    def identity(self) -> IsDraft | None: ...  # noqa: D102
    @property
    def is_behind(self) -> bool: ...  # noqa: D102
    @property
    def has_queue(self) -> bool: ...  # noqa: D102
    @property
    def may_bypass(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Checks:
    """The settings about checks. Without any required check, `required_only` changes nothing: then all of them count."""

    required_only: bool = False
    needed: bool = False


class Hindrance(NamedTuple):
    """One thing that stands between a pull request and its merge: its class and, for people, a clause."""

    refusal: Refusal
    says: str


def hindrance(shown: Shown, checks: Checks) -> Hindrance | None:
    """The first thing that prevents the merge; None if the pull request is green (spec/actions.md section 5, step 8).

    `behind` comes last, so it is the answer only if everything else is in order.
    """
    return next(hindrances(shown, checks), None)


def hindrances(shown: Shown, checks: Checks) -> Iterator[Hindrance]:
    """Everything that prevents the merge."""
    if shown.identity is not None and shown.identity.draft:
        yield Hindrance("draft", "it is a draft")
    if shown.mergeable_state == "dirty":
        yield Hindrance("conflict", "it conflicts with its base")
    if shown.mergeable_state in (None, "unknown"):
        yield Hindrance("judged_anew", "the forge does not know yet whether it can be merged")
    if shown.feedback is None:
        yield Hindrance("judged_anew", "its feedback could not be read")
        return
    yield from _of_reviews(shown.feedback)
    yield from _of_checks(shown.feedback, checks)
    if shown.may_bypass and shown.feedback.merge_state_status == "BLOCKED":
        yield Hindrance("checks", "the rules of its base block it, and the token could merge against them")
    if shown.is_behind and not shown.has_queue:
        yield Hindrance("behind", "its branch is behind its base")


def _of_reviews(found: Findings) -> Iterator[Hindrance]:
    if found.has_unresolved_comments:
        yield Hindrance("review", "it has comments that are not resolved")
    if found.changes_requested:
        yield Hindrance("review", "a reviewer requested changes")
    if found.awaiting_approval:
        yield Hindrance("review", "it lacks an approval")


def _of_checks(found: Findings, checks: Checks) -> Iterator[Hindrance]:
    if found.checks_unreadable:
        yield Hindrance("checks", "the token may not read its checks")
        return
    if found.required_missing:
        yield Hindrance("checks", f"required checks have not reported: {', '.join(found.required_missing)}")
    if checks.needed and not found.has_checks:
        yield Hindrance("checks", "its head has no check")
    if checks.required_only and found.required_known and found.required_pass:
        return
    if found.has_failing_checks or found.required_failing:
        yield Hindrance("checks", "a check fails")
    elif not found.all_checks_pass:
        yield Hindrance("checks", "not all checks have passed")
