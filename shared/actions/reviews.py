"""Actions on merge requests and their pull requests."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMrBead(Action):
    """Submit a source to review. No rule emits it."""

    type: ClassVar[str] = "create_mr_bead"

    source_bead_id: str
    agent_id: str
    rig_id: str
    branch: str
    target_branch: str
    pr_url: str | None = None
    summary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseSiblingMrs(Action):
    """Close the other live MRs of a source. No rule emits it."""

    type: ClassVar[str] = "close_sibling_mrs"

    source_bead_id: str
    exclude_mr_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReviewPrUrl(Action):
    """Note the pull request of an MR. No rule emits it."""

    type: ClassVar[str] = "set_review_pr_url"

    bead_id: str
    pr_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPr(Action):
    """Ask the forge how a pull request stands."""

    type: ClassVar[str] = "poll_pr"

    bead_id: str
    pr_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePr(Action):
    """Ask the forge to merge a pull request at the head that was judged green."""

    type: ClassVar[str] = "merge_pr"

    bead_id: str
    pr_url: str
