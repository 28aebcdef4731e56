"""The effects that call a forge: read, merge, update and dequeue a pull request, ask for reviews (spec/actions.md 5 and 6)."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Final

from shared.domain import green, identities
from shared.domain.forge_errors import Refusal
from shared.domain.orders import (
    DequeueOrder,
    MergeOrder,
    PollOrder,
    PullRequestOrder,
    RequestReviewOrder,
    UpdateBranchOrder,
)
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.domain.times import to_text
from shared.ports.forge import (
    Asker,
    BranchUpdate,
    ForgeError,
    Merged,
    NotMerged,
    PullRequest,
    Queued,
    SourceForge,
)
from shared.runner.result_events import Result, failure, short, success

ForgeEffect = Callable[[ClaimedEffect, SourceForge | None], Result]


def poll(effect: ClaimedEffect, forge: SourceForge | None) -> Result:
    """Read the pull request."""
    if forge is None:
        return failure(ok=False, error=no_forge())
    order = effect.order(PollOrder)
    answer = forge.pull_request(asker_of(order), order.pr_url, want_feedback=order.want_feedback)
    if isinstance(answer, ForgeError):
        return failure(ok=False, error=shown_error(answer))
    said = asdict(answer)
    said["sha"] = said.pop("merge_sha")
    return success(ok=True, **{key: value for key, value in said.items() if value not in (None, False, ())})


def merge(effect: ClaimedEffect, forge: SourceForge | None) -> Result:
    """Read the pull request again right before merging, then merge exactly what was agreed at the head that was judged."""
    if forge is None:
        return failure(merged=False, error=no_forge())
    order = effect.order(MergeOrder)
    asker = asker_of(order)
    seen = forge.pull_request(asker, order.pr_url, want_feedback=True)
    if isinstance(seen, ForgeError):
        return failure(merged=False, error=shown_error(seen), refusal="judged_anew")
    if seen.state == "merged":
        return _merged_already(seen, order)
    refused = _not_mergeable(seen, order)
    if refused is not None:
        refusal, reason = refused
        return failure(merged=False, reason=short(reason), refusal=refusal)
    if seen.in_queue:
        return _queued(seen.queue_position)
    answer = forge.merge(asker, order.pr_url, head_sha=seen.head_sha, effect_id=effect.effect_id)
    if isinstance(answer, Merged):
        return _looked_at_again(forge.pull_request(asker, order.pr_url, want_feedback=False), order, answer)
    return _said(answer)


def _merged_already(seen: PullRequest, order: MergeOrder) -> Result:
    """Somebody merged it. Only what can be compared with the agreed pull request is the merge of this work."""
    other = _other_one(seen, order)
    if other is None:
        return _merged(seen.merge_sha)
    if seen.identity is None or not identities.is_complete(order.expected):
        return _merged(seen.merge_sha, unconfirmed=True)
    reason = f"what was merged is not the agreed pull request: {other[1]}"
    return failure(merged=False, reason=short(reason), refusal="judged_anew")


def _looked_at_again(after: PullRequest | ForgeError, order: MergeOrder, answer: Merged) -> Result:
    """What this call has merged: a call names the head, but neither base nor branch, and both may have changed since the look.

    A forge whose reads lag behind its writes still shows it as open. Then the next poll says what was merged.
    """
    if isinstance(after, ForgeError) or after.state != "merged":
        return _merged(answer.sha, unconfirmed=True)
    return _merged_already(replace(after, merge_sha=after.merge_sha or answer.sha), order)


def _said(answer: Queued | NotMerged | ForgeError) -> Result:
    if isinstance(answer, Queued):
        return _queued(answer.position)
    if isinstance(answer, NotMerged):
        return failure(merged=False, reason=short(answer.reason), refusal=answer.refusal)
    return failure(merged=False, error=shown_error(answer))


def update_branch(effect: ClaimedEffect, forge: SourceForge | None) -> Result:
    """Bring the branch up to date with its base."""
    if forge is None:
        return failure(error=no_forge())
    order = effect.order(UpdateBranchOrder)
    answer = forge.update_branch(asker_of(order), order.pr_url, head_sha=order.head_sha)
    if isinstance(answer, ForgeError):
        return failure(error=shown_error(answer))
    return _updated(answer)


def dequeue(effect: ClaimedEffect, forge: SourceForge | None) -> Result:
    """Take the pull request out of its queue, then check whether it was merged before that."""
    if forge is None:
        return failure(ok=False, error=no_forge())
    order = effect.order(DequeueOrder)
    answer = forge.dequeue(asker_of(order), order.pr_url)
    if isinstance(answer, ForgeError):
        return failure(ok=False, error=shown_error(answer))
    seen = forge.pull_request(asker_of(order), order.pr_url, want_feedback=False)
    if isinstance(seen, PullRequest) and seen.state == "merged":
        return success(ok=True, merged=True, **({} if seen.merge_sha is None else {"sha": seen.merge_sha}))
    return success(ok=True)


def request_review(effect: ClaimedEffect, forge: SourceForge | None) -> Result:
    """Ask the reviewers again."""
    if forge is None:
        return failure(ok=False, error=no_forge())
    order = effect.order(RequestReviewOrder)
    answer = forge.request_review(asker_of(order), order.pr_url, reviewers=order.reviewers)
    return failure(ok=False, error=shown_error(answer)) if isinstance(answer, ForgeError) else success(ok=True)


FORGE_EFFECTS: Final[Mapping[EffectKind, ForgeEffect]] = {
    EffectKind.POLL_PR: poll,
    EffectKind.MERGE_PR: merge,
    EffectKind.UPDATE_BRANCH: update_branch,
    EffectKind.DEQUEUE: dequeue,
    EffectKind.REQUEST_REVIEW: request_review,
}


def _merged(sha: str | None, *, unconfirmed: bool = False) -> Result:
    doubt = {"unconfirmed": True} if unconfirmed else {}
    return success(merged=True, **({} if sha is None else {"sha": sha}), **doubt)


def _queued(position: int | None) -> Result:
    return success(merged=False, queued=True, **({} if position is None else {"position": position}))


def _updated(answer: BranchUpdate) -> Result:
    said = {"outcome": answer.outcome, "head": answer.head, "reason": short(answer.reason) or None}
    known = {key: value for key, value in said.items() if value is not None}
    return failure(**known) if answer.outcome == "refused" else success(**known)


def _not_mergeable(seen: PullRequest, order: MergeOrder) -> tuple[Refusal, str] | None:
    """Why this pull request is not merged: it is another one, has moved on, or is not green any more."""
    if seen.state == "closed":
        return "closed", "the pull request was closed"
    if seen.head_sha is None:
        return "other", "the forge does not say which head it would merge"
    other = _other_one(seen, order)
    if other is not None:
        return other
    if order.head_sha is not None and seen.head_sha != order.head_sha:
        return "judged_anew", "the head moved since it was judged"
    checks = green.Checks(required_only=order.required_checks_only, needed=order.require_checks)
    hindrance = green.hindrance(seen, checks)
    if hindrance is None:
        return None
    # `behind` is the town's own business. Everything else has come up since the poll that found the pull request green, or it
    # is gone again at the next one: so polls decide, and no try is counted.
    refusal: Refusal = "behind" if hindrance.refusal == "behind" else "judged_anew"
    return refusal, f"new feedback since it was judged: {hindrance.says}"


def _other_one(seen: PullRequest, order: MergeOrder) -> tuple[Refusal, str] | None:
    """Why this is not known to be the agreed pull request. What cannot be compared is not merged."""
    if order.expected is None or not identities.is_complete(order.expected):
        return "other", "the order does not say which pull request was agreed"
    if seen.identity is None:
        return "other", "the forge does not say which pull request it is"
    differences = identities.differences(order.expected, seen.identity)
    return ("identity", differences[0].says) if differences else None


def shown_error(error: ForgeError) -> dict[str, object]:
    """An error of the forge as results show it."""
    shown: dict[str, object] = {"kind": error.kind, "message": short(error.message)}
    if error.http_status is not None:
        shown["http_status"] = error.http_status
    if error.retry_at is not None:
        shown["retry_at"] = to_text(error.retry_at)
    about = {
        "secret": error.secret,
        "is_platform": error.is_platform,
        "host": error.host,
        "repository": error.repository,
    }
    return {**shown, **{key: value for key, value in about.items() if value}}


def asker_of(order: PullRequestOrder) -> Asker:
    """On whose behalf the forge is called."""
    repository, upstream = (order.rig_repository, order.upstream) if isinstance(order, PollOrder) else (None, None)
    return Asker(order.town_id, order.rig_id, order.rig_host, repository, upstream)


def no_forge() -> dict[str, object]:
    """The error if the deployment has no forge."""
    return {"kind": "no_token", "message": "no source forge is configured for this deployment"}
