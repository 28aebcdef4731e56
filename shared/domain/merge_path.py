"""How the work of one agent gets into its target: who opens the pull request, who merges, how a reviewer asks for changes.

The town decides this once, for the start context (spec/actions.md section 3). Prompts and `town-agent` read it from there.
"""

from dataclasses import dataclass
from typing import Literal

AskedBy = Literal["town", "comments"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of work: whose it is, and where it goes.

    `prompt_kind` is that of the order. `is_part`: its target is the feature branch of a convoy that lands later as a whole.
    `has_pull_request`: its review has one that is not closed.
    """

    prompt_kind: str
    target_branch: str | None
    is_part: bool
    has_pull_request: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePath:
    """What an agent does with good work. At most one of the first two is set; with neither, it only pushes and reports.

    `opens_pr_into` is the base of the pull request that it opens, `merges_into` the branch into which it merges itself.
    `asks_changes_by` is set of reviews only: by an event to the town, or by comments at the forge.
    """

    opens_pr_into: str | None = None
    merges_into: str | None = None
    asks_changes_by: AskedBy | None = None


def merge_path(piece: Piece, *, merge_strategy: str, code_review: bool, review_mode: str) -> MergePath:
    """The path of a piece of work under the effective settings of its rig.

    Part of a convoy needs no pull request of its own where a refinery reviews it: the refinery merges it into the feature branch,
    and the landing has the pull request. Where code review is off nobody else could bring it there, and R-or rejects it without.
    """
    by_pull_request = merge_strategy == "pr"
    if piece.prompt_kind == "work":
        opens = by_pull_request and not (piece.is_part and code_review)
        return MergePath(opens_pr_into=piece.target_branch if opens else None)
    if piece.prompt_kind not in ("review", "landing"):
        return MergePath()
    if piece.has_pull_request:
        return MergePath(asks_changes_by="comments" if review_mode == "comments" else "town")
    if by_pull_request and not piece.is_part:
        return MergePath(opens_pr_into=piece.target_branch, asks_changes_by="town")
    return MergePath(merges_into=piece.target_branch, asks_changes_by="town")
