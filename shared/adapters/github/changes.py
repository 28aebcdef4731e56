"""What the town does to a pull request at GitHub besides merging: update its branch, take it out of a queue, ask for reviews."""

from typing import Final

from pydantic import TypeAdapter

from shared.adapters.github import queries
from shared.adapters.github.answers import PullToMerge, Ways
from shared.adapters.github.call import GitHubCall
from shared.ports.forge import Accepted, BranchUpdate, ForgeError

_REVIEWERS_AT_MOST: Final = 10
_WAYS: Final = TypeAdapter(Ways)
_ANYTHING: Final = TypeAdapter(dict[str, object])


def update_branch(call: GitHubCall, number: int, head_sha: str) -> BranchUpdate | ForgeError:
    """Merge the base into the branch. GitHub does it in the background, so the new head is not known yet."""
    answer = call.ask(_ANYTHING, "PUT", f"/pulls/{number}/update-branch", {"expected_head_sha": head_sha})
    if not isinstance(answer, ForgeError):
        return BranchUpdate("updated")
    if answer.http_status != 422:
        return answer
    if "no new commits" in answer.message.lower():
        return BranchUpdate("current", head=head_sha)
    return BranchUpdate("refused", reason=answer.message)


def dequeue(call: GitHubCall, number: int) -> Accepted | ForgeError:
    """Leave the merge queue and cancel the automatic merge. A refusal counts only if it is still there afterwards."""
    waiting = _waiting(call, number)
    if isinstance(waiting, ForgeError):
        return waiting
    refusal: ForgeError | None = None
    ways_out = (
        (waiting.is_queued, queries.DEQUEUE),
        (waiting.automatic is not None, queries.DISABLE_AUTO_MERGE),
    )
    for is_there, mutation in ways_out:
        if is_there:
            answer = call.graphql(_ANYTHING, mutation, {"id": waiting.id})
            refusal = answer if isinstance(answer, ForgeError) else refusal
    if refusal is None or refusal.http_status != 422:
        return refusal or Accepted()
    waiting = _waiting(call, number)
    if isinstance(waiting, ForgeError):
        return waiting
    return refusal if waiting.in_queue else Accepted()


def request_review(call: GitHubCall, number: int, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
    """Ask for reviews. GitHub refuses a whole list for one person who may not review, so then each is asked alone."""
    path, asked = f"/pulls/{number}/requested_reviewers", list(reviewers[:_REVIEWERS_AT_MOST])
    answer = call.ask(_ANYTHING, "POST", path, {"reviewers": asked})
    if not isinstance(answer, ForgeError):
        return Accepted()
    if answer.http_status != 422 or len(asked) == 1:
        return answer
    was_asked = False
    for name in asked:
        alone = call.ask(_ANYTHING, "POST", path, {"reviewers": [name]})
        was_asked = was_asked or not isinstance(alone, ForgeError)
    return Accepted() if was_asked else answer


def _waiting(call: GitHubCall, number: int) -> PullToMerge | ForgeError:
    answer = call.graphql(_WAYS, queries.WAYS, {"number": number})
    return answer if isinstance(answer, ForgeError) else answer.repository.pull
