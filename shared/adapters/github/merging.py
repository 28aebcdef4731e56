"""Merging at GitHub: through the queue of the base if it has one, else in a way that the repository allows.

Whether there is a queue is asked first, because a token that may bypass the rules would merge past it.
"""

from collections.abc import Sequence
from typing import Final

from pydantic import TypeAdapter

from shared.adapters.github import queries
from shared.adapters.github.answers import Enqueued, HomeSeen, MergeDone, PullToMerge, Ways
from shared.adapters.github.call import GitHubCall
from shared.domain.forge_errors import Refusal
from shared.ports.forge import ForgeError, Merged, NotMerged, Queued

_WAYS: Final = TypeAdapter(Ways)
_DONE: Final = TypeAdapter(MergeDone)
_ENQUEUED: Final = TypeAdapter(Enqueued)
_REFUSED: Final = (405, 409)

_CLASSES: Final[tuple[tuple[Refusal, tuple[str, ...]], ...]] = (
    ("base_moved", ("base branch was modified",)),
    ("head_moved", ("head branch was modified", "head oid", "head sha")),
    ("queue", ("merge queue",)),
    ("draft", ("draft",)),
    ("method", ("commits are not allowed", "merges are not allowed", "linear history", "merge method")),
    ("behind", ("out of date", "out-of-date", "not up to date", "up-to-date")),
    ("review", ("approving review", "review is required", "code owner", "requested changes", "changes requested")),
    ("review", ("conversation", "review")),
    ("checks", ("status check", "required workflow", "check run", "code scanning", "deployment", "checks")),
    ("rights", ("not authorized", "protected branch", "permission", "not allowed to")),
    ("conflict", ("conflict",)),
    ("closed", ("closed", "not open")),
)
"""The classes of refusals by what GitHub's texts say, in lower case; the first that fits counts."""


def merge(
    call: GitHubCall, number: int, head_sha: str | None, seen: HomeSeen | None
) -> Merged | Queued | NotMerged | ForgeError:
    """Merge or enqueue a pull request at exactly that head. `seen` was read just now; without it, it is read here."""
    if seen is None:
        looked = call.graphql(_WAYS, queries.WAYS, {"number": number})
        if isinstance(looked, ForgeError):
            return looked
        seen = HomeSeen(looked.repository.pull, looked.repository.ways)
    over = _over(seen.pull)
    if over is not None:
        return over
    if seen.pull.has_queue:
        return _enqueue(call, seen.pull, head_sha)
    return _merge(call, number, head_sha, seen.ways)


def _over(pull: PullToMerge) -> Merged | Queued | NotMerged | None:
    """The answer for a pull request for which nothing is left to do; None if it can be merged."""
    if pull.state == "MERGED" and pull.merge_commit is not None:
        return Merged(pull.merge_commit.oid)
    if pull.state != "OPEN":
        return NotMerged(f"the pull request is {pull.state.lower()}", "closed")
    return Queued(pull.position) if pull.in_queue else None


def _merge(
    call: GitHubCall, number: int, head_sha: str | None, ways: Sequence[str]
) -> Merged | Queued | NotMerged | ForgeError:
    """Merge in the first way that the repository allows; in the next one if the base does not allow that."""
    answer = _put(call, number, head_sha, ways[0] if ways else "merge")
    forbids_way = isinstance(answer, ForgeError) and refusal_of(answer.message) == "method"
    if forbids_way and len(ways) > 1:
        answer = _put(call, number, head_sha, ways[1])
    if not isinstance(answer, ForgeError):
        return Merged(answer.sha)
    return _refused(call, number, head_sha, answer.message) if answer.http_status in _REFUSED else answer


def _put(call: GitHubCall, number: int, head_sha: str | None, way: str) -> MergeDone | ForgeError:
    body = {"merge_method": way} if head_sha is None else {"merge_method": way, "sha": head_sha}
    return call.ask(_DONE, "PUT", f"/pulls/{number}/merge", body)


def _refused(
    call: GitHubCall, number: int, head_sha: str | None, text: str
) -> Merged | Queued | NotMerged | ForgeError:
    """What a refusal means. "Not mergeable" has many reasons, and somebody else may have merged it meanwhile: look again."""
    if refusal_of(text) not in ("other", "queue", "closed"):
        return NotMerged(text, refusal_of(text))
    looked = call.graphql(_WAYS, queries.WAYS, {"number": number})
    if isinstance(looked, ForgeError):
        return NotMerged(text, refusal_of(text))
    pull = looked.repository.pull
    over = _over(pull)
    if over is not None:
        return over
    refusal = refusal_of(text)
    if refusal == "queue":
        return _enqueue(call, pull, head_sha)
    return NotMerged(text, _by_state(pull) if refusal == "other" else refusal)


def _by_state(pull: PullToMerge) -> Refusal:
    """The class of a refusal whose text says nothing, by the state of the pull request."""
    if pull.mergeable == "CONFLICTING":
        return "conflict"
    if pull.draft:
        return "draft"
    if pull.merge_state == "BEHIND":
        return "behind"
    return "review" if pull.decision in ("REVIEW_REQUIRED", "CHANGES_REQUESTED") else "other"


def _enqueue(call: GitHubCall, pull: PullToMerge, head_sha: str | None) -> Queued | NotMerged | ForgeError:
    answer = call.graphql(_ENQUEUED, queries.ENQUEUE, {"id": pull.id, "head": head_sha})
    if not isinstance(answer, ForgeError):
        entry = None if answer.enqueued is None else answer.enqueued.entry
        return Queued(None if entry is None else entry.position)
    if "already in the queue" in answer.message.lower() or "already in the merge queue" in answer.message.lower():
        return Queued()
    if answer.http_status not in (409, 422):
        return answer
    return NotMerged(answer.message, "head_moved" if answer.http_status == 409 else refusal_of(answer.message))


def refusal_of(text: str) -> Refusal:
    """The class of what GitHub says when it does not merge."""
    said = text.lower()
    return next((refusal for refusal, words in _CLASSES if any(word in said for word in words)), "other")
