"""Merge requests at GitLab, gitlab.com or self-hosted.

A poll is one GraphQL query. It takes more requests only where something is new: as which commit a merge request was merged, who
requested changes, where a project moved.
"""

from dataclasses import replace
from typing import Final

from pydantic import TypeAdapter

from shared.adapters.forge_hosts import Place, Target
from shared.adapters.forge_http import SILENCE_SECONDS, Dialect, ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.fresh_looks import FreshLooks
from shared.adapters.gitlab import merging, proofs, queries
from shared.adapters.gitlab.answers import Discussion, Note, Review
from shared.adapters.gitlab.call import GitLabCall, Look
from shared.adapters.gitlab.feedback import change_requests_of, feedback_of
from shared.adapters.gitlab.memory import GitLabMemory
from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    ChangeRequest,
    Comment,
    ForgeError,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
    Queued,
    RepositoryAt,
    comments_told,
)
from shared.ports.secrets import Secret

GITLAB: Final = Dialect(
    "GitLab",
    token_header="PRIVATE-TOKEN",  # noqa: S106 - the name of a header
    headers={"Accept": "application/json"},
)
_DISCUSSIONS: Final = TypeAdapter(list[Discussion])
_NOTES: Final = TypeAdapter(list[Note])
_REVIEWS: Final = TypeAdapter(list[Review])
_NEWEST_NOTES: Final = "/notes?activity_filter=only_activity&order_by=created_at&sort=desc&per_page=100"


class GitLabMergeRequests:
    """The merge requests of GitLab."""

    def __init__(self, limits: ForgeLimits, *, timeout_seconds: float = SILENCE_SECONDS) -> None:
        self._limits = limits
        self._timeout = timeout_seconds
        self._memory = GitLabMemory()
        self._looks = FreshLooks[Look]()

    def read(self, target: Target, token: Secret, *, asker: Asker, want_feedback: bool) -> PullRequest | ForgeError:
        """Read the state of a merge request, and where the addresses of its rig lead."""
        with self._client(target, token) as client:
            call = GitLabCall(client, target, self._memory, target.number)
            look = call.look([name for name in (asker.repository, asker.upstream) if name])
            if isinstance(look, ForgeError):
                return look
            self._looks.keep(target, token, look)
            seen = self._seen(call, look, target, want_feedback=want_feedback)
            return seen if isinstance(seen, ForgeError) else _with_names(call, look, asker, seen)

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | Queued | NotMerged | ForgeError:
        """Merge a merge request, or put it into a train, at exactly that head."""
        with self._client(target, token) as client:
            call = self._call(client, target)
            look = self._looks.taken(target, token) or call.look()
            return look if isinstance(look, ForgeError) else merging.merge(call, look, head_sha=head_sha)

    def update_branch(self, target: Target, token: Secret, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Rebase the branch of a merge request."""
        self._looks.taken(target, token)  # it shows the state before this change
        with self._client(target, token) as client:
            return merging.update_branch(self._call(client, target), head_sha=head_sha)

    def dequeue(self, target: Target, token: Secret) -> Accepted | ForgeError:
        """Leave the train and cancel an automatic merge."""
        self._looks.taken(target, token)  # it shows the state before this change
        with self._client(target, token) as client:
            return merging.dequeue(self._call(client, target))

    def request_review(self, target: Target, token: Secret, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask reviewers to review again; who is none becomes one."""
        with self._client(target, token) as client:
            call = self._call(client, target)
            look = call.look()
            if isinstance(look, ForgeError):
                return look
            return _asked_again(call, look, reviewers)

    def proof(self, place: Place, token: Secret, *, claim: MergeClaim) -> Proof | ForgeError:
        """Check whether the target branch contains a merge."""
        with self._client(place, token) as client:
            return proofs.proof(GitLabCall(client, place, self._memory), claim)

    def _client(self, place: Place, token: Secret) -> ForgeClient:
        return ForgeClient(place, token, self._limits, dialect=GITLAB, silence_seconds=self._timeout)

    def _call(self, client: ForgeClient, target: Target) -> GitLabCall:
        return GitLabCall(client, target, self._memory, target.number)

    def _seen(self, call: GitLabCall, look: Look, target: Target, *, want_feedback: bool) -> PullRequest | ForgeError:
        request = look.request
        if request.state_of_it == "merged":
            sha = merging.merged_as(call, look)
            return sha if isinstance(sha, ForgeError) else request.seen(None, merge_sha=sha)
        if request.state_of_it == "closed" or not want_feedback:
            return request.seen(None)
        if request.has_more_reviewers:
            everybody = call.rest(_REVIEWS, "GET", call.path_of(look, "/reviewers"))
            if isinstance(everybody, ForgeError):
                return everybody
            look = replace(look, request=request.reviewed_by(everybody))
            request = look.request
        feedback = feedback_of(look.project, request, checks_refused=look.checks_refused)
        if feedback.has_unresolved_comments:
            feedback = replace(feedback, comments=self._comments(call, look, target))
        if not request.wants_changes:
            return request.seen(feedback)
        found = self._change_requests(call, look, target)
        if isinstance(found, ForgeError):
            return found
        return request.seen(replace(feedback, change_requests=found))

    def _comments(self, call: GitLabCall, look: Look, target: Target) -> tuple[Comment, ...]:
        """What the open threads say, read once for each change of the merge request.

        That there are open threads is known without it. So a failure only leaves their texts out.
        """
        where = (target.at.host, look.project.at.id, target.number)
        known = self._memory.comments(*where, look.request.updated_at)
        if known is not None:
            return known
        threads = call.rest(_DISCUSSIONS, "GET", call.path_of(look, "/discussions?per_page=100"))
        if isinstance(threads, ForgeError):
            return ()
        found = comments_told(said for thread in threads for said in thread.said)
        self._memory.keep_comments(*where, look.request.updated_at, found)
        return found

    def _change_requests(self, call: GitLabCall, look: Look, target: Target) -> tuple[ChangeRequest, ...] | ForgeError:
        """Who requests changes. The notes that say so are read once for each change of the merge request."""
        where = (target.at.host, look.project.at.id, target.number)
        known = self._memory.opinions(*where, look.request.updated_at)
        if known is not None:
            return known
        notes = call.rest(_NOTES, "GET", call.path_of(look, _NEWEST_NOTES))
        if isinstance(notes, ForgeError):
            return notes
        found = change_requests_of(look.request, notes)
        self._memory.keep_opinions(*where, look.request.updated_at, found)
        return found


def _with_names(call: GitLabCall, look: Look, asker: Asker, seen: PullRequest) -> PullRequest | ForgeError:
    """With the projects that the rig's addresses lead to, and the present name of the target project."""
    identity = seen.identity
    if identity is not None:
        identity = replace(identity, base_repository=RepositoryAt(identity.base_repository.id, look.project.name))
    seen = replace(seen, identity=identity)
    if asker.repository:
        found = call.repository(asker.repository, look)
        if not isinstance(found, ForgeError):
            seen = replace(seen, rig_repository=found)
        elif found.kind == "http":
            seen = replace(seen, rig_problem=f"{asker.repository}: {found.message}")
        else:
            return found
    if asker.upstream:
        found = call.repository(asker.upstream, look)
        if not isinstance(found, ForgeError):
            seen = replace(seen, upstream_repository=found)
        elif found.kind != "http":
            return found
    return seen


def _asked_again(call: GitLabCall, look: Look, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
    known = {each.username.lower(): each.gid for each in look.request.people}
    again = [known[name.lower()] for name in reviewers if name.lower() in known]
    author = None if look.request.author is None else look.request.author.username
    added = [name for name in reviewers if name.lower() not in known and name != author]
    if not again and not added:
        return Accepted()
    query, variables = queries.of_reviews(again, added)
    answer = call.graphql(query, {"project": look.project.name, "iid": str(call.number), **variables})
    if isinstance(answer, ForgeError):
        return answer
    said = [error.message for error in answer.errors or ()]
    for part in (answer.data or {}).values():
        said += part.get("errors") or [] if isinstance(part, dict) else []
    if said:
        return ForgeError("http", call.presentable(f"GitLab did not ask for a review: {said[0]}"), http_status=422)
    return Accepted()
