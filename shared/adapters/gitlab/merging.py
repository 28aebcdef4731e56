"""Merging at GitLab, by a train where the project has one, and bringing a branch up to date.

A plain merge goes around a train, so the project's setting is read first. GitLab's words are ambiguous in two places: a 401 from a
merge says that the token may not merge into that branch, unless it is not valid at all, and 200 says that the merge is done or
that it will be.
"""

import time
from collections.abc import Callable
from typing import Final

from pydantic import TypeAdapter, ValidationError

from shared.adapters.gitlab.answers import Car, Merging, Project
from shared.adapters.gitlab.call import GitLabCall, Look
from shared.domain.forge_errors import Refusal
from shared.ports.forge import Accepted, BranchUpdate, ForgeError, Merged, NotMerged, Queued

_ANYTHING: Final = TypeAdapter(object)
_MERGING: Final = TypeAdapter(Merging)
_PROJECT: Final = TypeAdapter(Project)
_CARS: Final = TypeAdapter(list[Car])
_REBASE_PAUSES: Final = (0.2, 0.5, 1.0, 1.0, 2.0, 2.0)
"""The seconds between two looks at a rebase; together they are far less than what a call may take."""


def merge(call: GitLabCall, *, head_sha: str | None) -> Merged | Queued | NotMerged | ForgeError:
    """Merge the merge request, or put it into the train of its target branch, at exactly that head."""
    look = call.look()
    if isinstance(look, ForgeError):
        return look
    done = _what_it_is(call, look)
    if done is not None:
        return done
    sha = head_sha or look.request.sha
    if look.request.sha != sha or sha is None:
        return NotMerged(f"the head is {look.request.sha}, not {sha}", "head_moved")
    project = call.rest(_PROJECT, "GET", f"/projects/{look.project.at.id}")
    if isinstance(project, ForgeError):
        return project
    if project.archived:
        return NotMerged("the project is archived", "rights")
    joined = _join_train(call, look, sha) if project.merge_trains_enabled else None
    return joined or _merge_now(call, look, sha)


def _join_train(call: GitLabCall, look: Look, sha: str) -> Merged | Queued | NotMerged | ForgeError | None:
    """Join the train; None if this edition has no trains after all."""
    project = look.project.at.id
    path = f"/projects/{project}/merge_trains/merge_requests/{call.number}"
    answer = call.rest(_ANYTHING, "POST", path, {"sha": sha, "auto_merge": True})
    if not isinstance(answer, ForgeError):
        return Queued(_place_in(answer, call.number))
    return None if answer.http_status == 403 else _refused(call, answer)


def _merge_now(call: GitLabCall, look: Look, sha: str) -> Merged | Queued | NotMerged | ForgeError:
    merged = call.rest(_MERGING, "PUT", call.path_of(look, "/merge"), {"sha": sha})
    if isinstance(merged, ForgeError):
        return _refused(call, merged)
    if merged.state == "merged":
        return Merged(merged.merge_sha or sha)
    return _after(call, "GitLab accepted the merge and did not merge", "other")


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
        if answer.http_status == 401 and _token_is_valid(call):
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
    """What a refused merge means."""
    if error.http_status == 401:
        return NotMerged("the token may not merge into this branch", "rights") if _token_is_valid(call) else error
    if error.http_status == 409:
        return _after(call, error.message, "head_moved")
    if error.http_status in (400, 405, 406, 422):
        return _after(call, error.message, "queue" if "train" in error.message.lower() else None)
    return error


def _after(call: GitLabCall, reason: str, refusal: Refusal | None) -> Merged | Queued | NotMerged | ForgeError:
    """Look again: what became of it, and, without a class of the reason, what GitLab's word for the state is."""
    look = call.look()
    if isinstance(look, ForgeError):
        return look
    done = _what_it_is(call, look)
    if done is not None:
        return done
    if look.request.merge_error:
        reason = f"{reason}; {call.presentable(look.request.merge_error)}"
    return NotMerged(f"{reason}; {look.request.word}", refusal or look.request.refusal)


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


def _token_is_valid(call: GitLabCall) -> bool:
    return not isinstance(call.rest(_ANYTHING, "GET", "/user"), ForgeError)


def _place_in(train: object, number: int) -> int | None:
    """The place in a train, from 1; None if the answer does not say."""
    try:
        cars = _CARS.validate_python(train)
    except ValidationError:
        return None
    return next((place for place, car in enumerate(cars, 1) if car.merge_request.iid == number), None)
