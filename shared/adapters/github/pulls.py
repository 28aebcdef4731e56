"""Pull requests at GitHub and GitHub Enterprise Server: the PullRequestApi over one client for each call."""

from shared.adapters.forge_hosts import Place, Target
from shared.adapters.forge_http import SILENCE_SECONDS, ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.fresh_looks import FreshLooks
from shared.adapters.github import changes, merging, proofs, reading
from shared.adapters.github.answers import HomeSeen
from shared.adapters.github.call import GITHUB, GitHubCall
from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    ForgeError,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
    Queued,
)
from shared.ports.secrets import Secret


class GitHubPullRequests:
    """The pull requests of GitHub and of GitHub Enterprise Servers."""

    def __init__(self, limits: ForgeLimits, *, timeout_seconds: float = SILENCE_SECONDS) -> None:
        self._limits = limits
        self._timeout = timeout_seconds
        self._looks = FreshLooks[HomeSeen]()

    def read(self, target: Target, token: Secret, *, asker: Asker, want_feedback: bool) -> PullRequest | ForgeError:
        """Read a pull request, and what the rig's addresses lead to."""
        with self._client(target, token) as client:
            call = GitHubCall(client, target)
            answer, seen = reading.read(call, target.number, asker, want_feedback=want_feedback)
            if seen is not None:
                self._looks.keep(target, token, seen)
            return answer

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | Queued | NotMerged | ForgeError:
        """Merge or enqueue a pull request at exactly that head."""
        with self._client(target, token) as client:
            seen = self._looks.taken(target, token)
            return merging.merge(GitHubCall(client, target), target.number, head_sha, seen)

    def update_branch(self, target: Target, token: Secret, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Bring the branch up to date with its base."""
        self._looks.taken(target, token)  # it shows the state before this change
        with self._client(target, token) as client:
            return changes.update_branch(GitHubCall(client, target), target.number, head_sha)

    def dequeue(self, target: Target, token: Secret) -> Accepted | ForgeError:
        """Take the pull request out of its merge queue and cancel an automatic merge."""
        self._looks.taken(target, token)  # it shows the state before this change
        with self._client(target, token) as client:
            return changes.dequeue(GitHubCall(client, target), target.number)

    def request_review(self, target: Target, token: Secret, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask these people to review again."""
        with self._client(target, token) as client:
            return changes.request_review(GitHubCall(client, target), target.number, reviewers)

    def proof(self, place: Place, token: Secret, *, claim: MergeClaim) -> Proof | ForgeError:
        """Check whether the target branch contains the merge."""
        with self._client(place, token) as client:
            return proofs.proof(GitHubCall(client, place), claim)

    def _client(self, place: Place, token: Secret) -> ForgeClient:
        return ForgeClient(place, token, self._limits, dialect=GITHUB, silence_seconds=self._timeout)
