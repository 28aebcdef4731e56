"""Merging at GitLab, by a train where the project has one, and bringing a branch up to date.

A plain merge goes around a train, so trains are looked for first. GitLab's answers are ambiguous in two places: 401 to a merge says
that the token may not merge into that branch, unless it is not valid at all, and 200 says that the merge is done or that it will
be.
"""

import time
from collections.abc import Callable
from typing import Final

from pydantic import TypeAdapter, ValidationError

from shared.adapters.gitlab.answers import Car, Merging
from shared.adapters.gitlab.call import GitLabCall, Look
from shared.domain.forge_errors import Refusal
from shared.ports.forge import Accepted, BranchUpdate, ForgeError, Merged, NotMerged, Queued

_ANYTHING: Final = TypeAdapter(object)
_MERGING: Final = TypeAdapter(Merging)
_CARS: Final = TypeAdapter(list[Car])
_REBASE_PAUSES: Final = (0.2, 0.5, 1.0, 1.0, 2.0, 2.0)
"""The seconds between two looks at a rebase; together they are far less than what a call may take."""


def merge(call: GitLabCall, look: Look, *, head_sha: str | None) -> Merged | Queued | NotMerged | ForgeError:
    """Merge the merge request, or put it into the train of its target branch, at exactly that head.

    `look` was made just now. Where its word says why GitLab does not merge, nothing is tried.
    """
    done = _what_it_is(call, look)
    if done is not None:
        return done
    request, sha = look.request, head_sha or look.request.sha
    if request.sha != sha or sha is None:
        return NotMerged(f"the head is {request.sha}, not {sha}", "head_moved")
    if look.project.archived:
        return NotMerged("the project is archived", "rights")
    has_train = request.has_train or call.has_train(look)
    if isinstance(has_train, ForgeError):
        return has_train
    may_pass = request.word == "mergeable" or request.refusal == "base_moved"
    if not may_pass and not (has_train and request.refusal == "checks"):
        return _not_merged(call, look, "GitLab does not merge it", request.refusal)
    joined = _join_train(call, look, sha) if has_train else None
    return joined or _merge_now(call, look, sha)


def _join_train(call: GitLabCall, look: Look, sha: str) -> Merged | Queued | NotMerged | ForgeError | None:
    """Join the train; None if this edition has no trains after all."""
    path = f"/projects/{look.project.at.id}/merge_trains/merge_requests/{call.number}"
    answer = call.rest(_ANYTHING, "POST", path, {"sha": sha, "auto_merge": True})
    if not isinstance(answer, ForgeError):
        return Queued(_place_in(answer, call.number))
    if answer.http_status == 403 and "forbidden" in answer.message.lower():
        return None
    return _refused(call, answer)


def _merge_now(call: GitLabCall, look: Look, sha: str) -> Merged | Queued | NotMerged | ForgeError:
    merged = call.rest(_MERGING, "PUT", call.path_of(look, "/merge"), {"sha": sha})
    if isinstance(merged, ForgeError):
        return _refused(call, merged)
    if merged.state == "merged":
        return Merged(merged.merge_sha or sha)
    again = call.look()
    if isinstance(again, ForgeError):
        return again
    return _what_it_is(call, again) or _not_merged(call, again, "GitLab accepted the merge and did not merge", "other")


def merged_as(call: GitLabCall, look: Look) -> str | ForgeError | None:
    """The commit that a merge produced. GraphQL does not show a squashed commit, so REST is asked where there is no other."""
    if look.request.merge_commit_sha:
        return look.request.merge_commit_sha
    seen = call.rest(_MERGING, "GET", call.path_of(look))
    return seen if isinstance(seen, ForgeError) else seen.merge_sha


def update_branch(
    call: GitLabCall, *, head_sha: str, sleep: Callable[[float], None] = time.sleep
) -> BranchUpdate | ForgeError:
    """Rebase the branch. GitLab takes no head to compare with, so it is read immediately before."""
    look = call.look()
    if isinstance(look, ForgeError):
        return look
    request = look.request
    if request.state_of_it != "open":
        return BranchUpdate("refused", reason=f"the merge request is {request.state_of_it}")
    if request.sha != head_sha:
        return BranchUpdate("refused", head=request.sha, reason="somebody pushed")
    if not request.diverged and not request.should_be_rebased:
        return BranchUpdate("current", head=head_sha)
    asked = call.rest(_ANYTHING, "PUT", call.path_of(look, "/rebase"), {})
    if isinstance(asked, ForgeError):
        is_about_the_branch = asked.http_status == 403 and "ource branch" in asked.message
        return BranchUpdate("refused", reason=asked.message) if is_about_the_branch else asked
    return _rebased(call, look, head_sha, sleep)


def dequeue(call: GitLabCall) -> Accepted | ForgeError:
    """Cancel an automatic merge, which also leaves a train; a second look says whether it did."""
    look = call.look()
    if isinstance(look, ForgeError):
        return look
    if not _waits(look):
        return Accepted()
    answer = call.rest(_ANYTHING, "POST", call.path_of(look, "/cancel_merge_when_pipeline_succeeds"))
    if isinstance(answer, ForgeError):
        if answer.http_status == 401:  # the look was allowed to the same token, so it is about this call
            return ForgeError("http", "the token may not cancel an automatic merge", http_status=403)
        if answer.http_status != 406:  # 406: there is none any more
            return answer
    look = call.look()
    if isinstance(look, ForgeError):
        return look
    if _waits(look):
        return ForgeError("http", "GitLab did not cancel the automatic merge", http_status=409)
    return Accepted()


def _waits(look: Look) -> bool:
    return look.request.state_of_it == "open" and look.request.auto_merge_enabled


def _rebased(call: GitLabCall, look: Look, before: str, sleep: Callable[[float], None]) -> BranchUpdate | ForgeError:
    for pause in _REBASE_PAUSES:
        sleep(pause)
        seen = call.rest(_MERGING, "GET", call.path_of(look, "?include_rebase_in_progress=true"))
        if isinstance(seen, ForgeError):
            return seen
        if seen.rebase_in_progress:
            continue
        if seen.merge_error:
            return BranchUpdate("refused", reason=call.presentable(seen.merge_error))
        if seen.sha not in (None, before):
            return BranchUpdate("updated", head=seen.sha)
    return BranchUpdate("updated")


def _refused(call: GitLabCall, error: ForgeError) -> Merged | Queued | NotMerged | ForgeError:
    """What a refused merge means. The look was allowed to the same token just now, so a 401 is about this branch.

    A refusal without a reason is looked into: somebody else may have merged, closed or changed it since.
    """
    if error.http_status == 401:
        return NotMerged("the token may not merge into this branch", "rights")
    if error.http_status == 409:
        return NotMerged(error.message, "head_moved")
    if error.http_status in (400, 405, 406, 422):
        if "train" in error.message.lower():
            return NotMerged(error.message, "queue")
        now = call.look()
        if isinstance(now, ForgeError):
            return now
        return _what_it_is(call, now) or _not_merged(call, now, error.message, now.request.refusal)
    return error


def _not_merged(call: GitLabCall, look: Look, reason: str, refusal: Refusal) -> NotMerged:
    """A refusal with GitLab's own word, and what it says about the last merge that failed."""
    said = [reason, look.request.word, call.presentable(look.request.merge_error or "")]
    return NotMerged("; ".join(filter(None, said)), refusal)


def _what_it_is(call: GitLabCall, look: Look) -> Merged | Queued | NotMerged | ForgeError | None:
    """What needs no merge: merged, closed, or on its way."""
    request = look.request
    if request.state_of_it == "merged":
        sha = merged_as(call, look)
        if isinstance(sha, ForgeError):
            return sha
        return Merged(sha) if sha else ForgeError("invalid_response", "GitLab does not say as which commit it merged")
    if request.state_of_it == "closed":
        return NotMerged("the merge request is closed", "closed")
    return Queued() if request.auto_merge_enabled or request.state == "locked" else None


def _place_in(train: object, number: int) -> int | None:
    """The place in a train, from 1; None if the answer does not say."""
    try:
        cars = _CARS.validate_python(train)
    except ValidationError:
        return None
    return next((place for place, car in enumerate(cars, 1) if car.merge_request.iid == number), None)
