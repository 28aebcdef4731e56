"""Reading a pull request at GitHub: one query, and one more for each further page of a list of more than 100."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import TypeAdapter

from shared.adapters.github import queries
from shared.adapters.github.answers import HomeSeen, Look, More, PageSeen, PullSeen
from shared.adapters.github.call import GitHubCall, Partial
from shared.adapters.github.checks import counting, run_of, with_checks
from shared.ports.forge import Asker, ChangeRequest, Comment, Feedback, ForgeError, Identity, PullRequest, comments_told

PAGES_AT_MOST: Final = 10
"""At most 1,000 threads and 1,000 checks are read; if there are more, the checks count as not passed."""

_PULL: Final = ("repository", "pullRequest")
_HEAD: Final = (*_PULL, "commits")
_PARENTS: Final = (*_HEAD, "nodes", "0", "commit", "parents")
_LOOK: Final = TypeAdapter(Look)
_MORE: Final = TypeAdapter(More)


def read(
    call: GitHubCall, number: int, asker: Asker, *, want_feedback: bool
) -> tuple[PullRequest | ForgeError, HomeSeen | None]:
    """Read a pull request and what the rig's addresses lead to. Parts that GitHub refuses are said to be unknown.

    The second part is for a merge that follows at once; None if it was not read whole.
    """
    variables = {"number": number, "feedback": want_feedback, "threads": None, "checks": None}
    addresses = {**_address("rig", asker.repository), **_address("upstream", asker.upstream)}
    look = call.partly(_LOOK, queries.LOOK, {**variables, **addresses})
    if isinstance(look, ForgeError):
        return look, None
    home = look.value.repository
    pull = None if home is None else home.pull
    refusal = look.failed("repository") or look.refused(*_PULL) or look.refused("repository")
    if home is None or pull is None:
        gone = ForgeError("http", "there is no such pull request", http_status=404)
        return (refusal.error if refusal else gone), None
    if refusal is not None and refusal.error.kind != "http":
        return refusal.error, None  # a part that fails for the moment is no part that is refused
    feedback = _feedback(call, number, look, pull) if want_feedback and pull.state == "OPEN" else None
    if isinstance(feedback, ForgeError):
        return feedback, None
    seen = _with_addresses(pull.seen(feedback, identity=_identity(look, pull)), look, asker)
    return seen, None if refusal else HomeSeen(pull, home.ways)


def _with_addresses(seen: PullRequest, look: Partial[Look], asker: Asker) -> PullRequest:
    rig, upstream, problem = look.value.rig, look.value.upstream, look.refused("rig")
    leads_nowhere = problem is not None and problem.error.kind == "http"
    return replace(
        seen,
        rig_repository=None if rig is None or asker.repository is None else rig.at,
        rig_problem=problem.message or "GitHub refuses it" if problem is not None and leads_nowhere else None,
        upstream_repository=None if upstream is None or asker.upstream is None else upstream.at,
    )


def _identity(look: Partial[Look], pull: PullSeen) -> Identity | None:
    """Which pull request it is; None if a repository of it may not be read, because that is not one that was deleted."""
    parts = ("headRepository", "baseRepository")
    return None if any(look.refused(*_PULL, part) for part in parts) else pull.identity


def _feedback(call: GitHubCall, number: int, look: Partial[Look], pull: PullSeen) -> Feedback | ForgeError:
    """The obstacles to the merge, from every thread and check; says so if not all could be read."""
    if look.refused(*_PULL, "latestOpinionatedReviews") or look.refused(*_PULL, "reviewThreads"):
        refusal = look.refused(*_PULL)
        return refusal.error if refusal else ForgeError("invalid_response", "its reviews could not be read")
    answers: list[Partial[PageSeen]] = [Partial(pull, look.problems)]
    after: dict[str, str | None] = {"threads": None, "checks": None}
    while answers[-1].value.has_more and len(answers) < PAGES_AT_MOST:
        after = answers[-1].value.next_after(after)
        more = call.partly(_MORE, queries.MORE, {"number": number, "feedback": True, **after})
        if isinstance(more, ForgeError):
            return more
        failure = more.failed("repository")
        if failure is not None:
            return failure.error
        answers.append(Partial(more.value.repository.pull, more.problems))
    feedback = _of_people(pull, [each.value for each in answers])
    return _of_checks(feedback, look, pull, answers)


def _of_people(pull: PullSeen, pages: Sequence[PageSeen]) -> Feedback:
    """What people say. A draft counts as awaiting approval: GitHub does not merge it until a person marks it as ready.

    GitHub's decision is null where the base requires no review, even after somebody requested changes.
    """
    given = [] if pull.reviews is None else pull.reviews.nodes or []
    requesting = [each for each in given if each is not None and each.state == "CHANGES_REQUESTED"]
    change_requests = tuple(
        ChangeRequest(each.id, None if each.author is None else each.author.login) for each in requesting
    )
    threads = [thread for page in pages if page.threads is not None for thread in page.threads.nodes]
    of_reviews = [Comment(each.body, author=None if each.author is None else each.author.login) for each in requesting]
    of_threads = [said for thread in threads if not thread.is_resolved for said in thread.said]
    return Feedback(
        has_unresolved_comments=any(not thread.is_resolved for thread in threads),
        has_unchecked_runs=pages[-1].has_more,
        awaiting_approval=pull.decision == "REVIEW_REQUIRED" or pull.draft,
        changes_requested=pull.decision == "CHANGES_REQUESTED" or bool(change_requests),
        review_decision=pull.decision,
        merge_state_status=pull.merge_state,
        change_requests=change_requests,
        comments=comments_told([*of_reviews, *of_threads]),
    )


def _of_checks(
    feedback: Feedback, look: Partial[Look], pull: PullSeen, answers: Sequence[Partial[PageSeen]]
) -> Feedback:
    """What the checks say; that they are unreadable if any part of them is refused, except the workflows of runs."""
    below = [each for answer in answers for each in answer.problems if each.path[: len(_HEAD)] == _HEAD]
    workflows = [each for each in below if "workflowRun" in each.path]
    contexts = [each for answer in answers if answer.value.contexts is not None for each in answer.value.contexts.nodes]
    others = [each for each in below if each not in workflows and each.path[: len(_PARENTS)] != _PARENTS]
    if others or pull.commit is None or None in contexts:
        return replace(feedback, checks_unreadable=True, all_checks_pass=False)
    known = [each for each in contexts if each is not None]
    runs = [run_of(each) for each in known] if workflows else counting(known)
    is_required_known = pull.base_ref is not None and look.refused(*_PULL, "baseRef") is None
    required = pull.base_ref.required if is_required_known and pull.base_ref is not None else None
    heads = {answer.value.head_sha for answer in answers}
    heads |= {"" if answer.value.commit is None else answer.value.commit.oid for answer in answers}
    if heads != {pull.head_sha}:
        # A read that lags, or a push between two pages: checks of another head say nothing about this one.
        return replace(feedback, all_checks_pass=False, all_runs_counted=bool(workflows))
    found = with_checks(feedback, runs, required=required, unread=feedback.has_unchecked_runs)
    return replace(found, all_runs_counted=bool(workflows))


def _address(kind: str, repository: str | None) -> dict[str, object]:
    """The variables for one of the rig's addresses."""
    owner, _, name = (repository or "").rpartition("/")
    return {kind: bool(repository), f"{kind}Owner": owner, f"{kind}Name": name}
