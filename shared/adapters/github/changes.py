"""What the town does to a pull request at GitHub besides merging: update its branch, take it out of a queue, ask for reviews."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared.adapters.github.call import GitHubCall
from shared.ports.forge import Accepted, BranchUpdate, ForgeError

_REVIEWERS_AT_MOST: Final = 10
_NODE: Final = """
query Waiting($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) {
  pullRequest(number: $number) { id isInMergeQueue autoMergeRequest { enabledAt } }
} }"""
_DEQUEUE: Final = """
mutation Dequeue($id: ID!) { dequeuePullRequest(input: {id: $id}) { clientMutationId } }"""
_DISABLE: Final = """
mutation Disable($id: ID!) { disablePullRequestAutoMerge(input: {pullRequestId: $id}) { clientMutationId } }"""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Waiting(_Answer):
    id: str
    in_queue: bool = Field(alias="isInMergeQueue")
    automatic: dict[str, object] | None = Field(alias="autoMergeRequest")


class _Repository(_Answer):
    pull: _Waiting = Field(alias="pullRequest")


class _Data(_Answer):
    repository: _Repository


class _WaitingAnswer(_Answer):
    data: _Data


_WAITING: Final = TypeAdapter(_WaitingAnswer)
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
    for is_there, mutation in ((waiting.in_queue, _DEQUEUE), (waiting.automatic is not None, _DISABLE)):
        if is_there:
            answer = call.graphql(_ANYTHING, mutation, {"id": waiting.id})
            refusal = answer if isinstance(answer, ForgeError) else refusal
    if refusal is None or refusal.http_status != 422:
        return refusal or Accepted()
    waiting = _waiting(call, number)
    if isinstance(waiting, ForgeError):
        return waiting
    return refusal if waiting.in_queue or waiting.automatic is not None else Accepted()


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


def _waiting(call: GitHubCall, number: int) -> _Waiting | ForgeError:
    variables = {"owner": call.place.owner, "name": call.place.name, "number": number}
    answer = call.graphql(_WAITING, _NODE, variables)
    return answer if isinstance(answer, ForgeError) else answer.data.repository.pull
