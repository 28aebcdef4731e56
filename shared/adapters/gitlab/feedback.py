"""What stands in the way of a merge at GitLab, in the terms of the port."""

from collections.abc import Sequence
from typing import Final

from shared.adapters.gitlab.answers import APPROVAL_MISSING, CHECKS_MISSING, MergeRequest, Note, WithProject
from shared.ports.forge import ChangeRequest, Feedback

_FAILED: Final = frozenset({"failed", "canceled", "canceling"})
_PASSED: Final = frozenset({"success", "skipped"})


def change_requests_of(request: MergeRequest, newest_first: Sequence[Note]) -> tuple[ChangeRequest, ...]:
    """Who requests changes, by name, each with the id of the note that GitLab wrote about it.

    Where requested changes block the merge, they last until their author approves, even if that person was asked for another
    review or never was a reviewer; elsewhere the state of the reviewers counts.
    """
    opinions: dict[str, int | None] = {}
    for note in newest_first:
        said = note.body.strip().lower()
        if note.system and note.author is not None and said.startswith(("requested changes", "approved this merge")):
            opinions.setdefault(note.author.username, note.id if said.startswith("requested") else None)
    names = {each.username for each in request.people if each.requests_changes}
    if request.word == "requested_changes":
        names |= {name for name, note_id in opinions.items() if note_id is not None}
    found = ((name, opinions.get(name)) for name in sorted(names))
    return tuple(ChangeRequest(f"reviewer-{name}" if note is None else f"note-{note}", name) for name, note in found)


def feedback_of(project: WithProject, request: MergeRequest, *, checks_refused: bool) -> Feedback:
    """The obstacles to the merge of a merge request, but for who requests changes.

    Without a pipeline the checks pass; a pipeline that waits does not pass. GitLab does not show a pipeline that the token may
    not read: then the merge request has CI and the head has no pipeline.
    """
    status = None if request.head_pipeline is None else request.head_pipeline.status.lower()
    word = request.word
    unread = request.resolvable is None or request.resolved is None
    hidden = status is None and request.has_ci and not project.permissions.read_commit_status
    awaiting = word in APPROVAL_MISSING or request.draft
    decision = "REVIEW_REQUIRED" if awaiting else "APPROVED"
    passes = (status is None or status in _PASSED) and word not in CHECKS_MISSING
    failing = status in _FAILED
    return Feedback(
        has_unresolved_comments=(request.resolvable or 0) > (request.resolved or 0)
        or word == "discussions_not_resolved",
        has_failing_checks=failing,
        has_unchecked_runs=unread,
        all_checks_pass=passes and not unread,
        awaiting_approval=awaiting,
        changes_requested=request.wants_changes,
        review_decision="CHANGES_REQUESTED" if request.wants_changes else decision,
        merge_state_status=word.upper(),
        checks_unreadable=checks_refused or hidden,
        has_checks=status is not None,
        required_known=project.needs_pipeline is not None,
        required_failing=failing,
        required_pass=passes,
    )
