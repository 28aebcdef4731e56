"""All forges of a deployment behind one port, with the checks that precede every request.

Every pull request is checked in the same way: its URL is parsed, its host must be configured and must be the host of its
rig's repository, a token for that host must be stored, and the limit of that token must not be used up. Nothing is sent
before that. Every error says which token, host and repository it is about.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost, ForgeHosts, Place, Target
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.forge_tokens import NamedToken, NotServed, names_for, own_token, platform_token
from shared.adapters.github.app import FOR_MERGES, FOR_POLLS, SECRET, AppToken, GitHubApps, Rights
from shared.adapters.github.pulls import GitHubPullRequests
from shared.adapters.gitlab.pulls import GitLabMergeRequests
from shared.domain.errors import AccessDenied, SecretsUnavailable, Terminal
from shared.domain.repositories import ForgeKind
from shared.ports.clock import Clock
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
from shared.ports.secrets import Secret, Secrets

_R = TypeVar("_R")


class PullRequestApi(Protocol):
    """The pull requests of one kind of forge. No method raises for a failure of the network or the forge.

    What each method promises is said at the port, `shared.ports.forge.SourceForge`.
    """

    def read(self, target: Target, token: Secret, *, asker: Asker, want_feedback: bool) -> PullRequest | ForgeError:
        """Read one pull request."""
        ...

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | Queued | NotMerged | ForgeError:
        """Merge or enqueue a pull request at exactly that head."""
        ...

    def update_branch(self, target: Target, token: Secret, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Bring the branch up to date with its base."""
        ...

    def dequeue(self, target: Target, token: Secret) -> Accepted | ForgeError:
        """Take the pull request out of its merge queue and cancel an automatic merge."""
        ...

    def request_review(self, target: Target, token: Secret, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask these people to review again."""
        ...

    def proof(self, place: Place, token: Secret, *, claim: MergeClaim) -> Proof | ForgeError:
        """Check whether the target branch contains the merge."""
        ...


class Forges:
    """The SourceForge port over GitHub and GitLab, hosted by their vendors or self-hosted."""

    def __init__(
        self,
        secrets: Secrets,
        clock: Clock,
        *,
        hosts: Iterable[ForgeHost] = USUAL_HOSTS,
        apps: GitHubApps | None = None,
    ) -> None:
        self._secrets = secrets
        self._apps = apps
        self._hosts = ForgeHosts(hosts)
        self._limits = ForgeLimits(clock)
        self._apis: Mapping[ForgeKind, PullRequestApi] = {
            "github": GitHubPullRequests(self._limits),
            "gitlab": GitLabMergeRequests(self._limits),
        }

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read the state of a pull request; says with which token."""

        def read(api: PullRequestApi, target: Target, found: NamedToken) -> PullRequest | ForgeError:
            seen = api.read(target, found.token, asker=asker, want_feedback=want_feedback)
            if isinstance(seen, ForgeError):
                return seen
            return replace(seen, secret=found.name, is_platform=found.is_platform)

        return self._of_pull(asker, pr_url, read, rights=FOR_POLLS)

    def merge(
        self,
        asker: Asker,
        pr_url: str,
        *,
        head_sha: str | None,
        effect_id: str,  # noqa: ARG002 - the head is the idempotency key: a forge merges a head once
    ) -> Merged | Queued | NotMerged | ForgeError:
        """Merge or enqueue a pull request at exactly that head."""
        return self._of_pull(
            asker, pr_url, lambda api, target, found: api.merge(target, found.token, head_sha=head_sha)
        )

    def update_branch(self, asker: Asker, pr_url: str, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Bring the branch up to date with its base."""
        return self._of_pull(
            asker, pr_url, lambda api, target, found: api.update_branch(target, found.token, head_sha=head_sha)
        )

    def dequeue(self, asker: Asker, pr_url: str) -> Accepted | ForgeError:
        """Take the pull request out of the merge queue and cancel an automatic merge."""
        return self._of_pull(asker, pr_url, lambda api, target, found: api.dequeue(target, found.token))

    def request_review(self, asker: Asker, pr_url: str, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask these people to review again; nothing is sent if there are none."""
        if not reviewers:
            return Accepted()
        return self._of_pull(
            asker, pr_url, lambda api, target, found: api.request_review(target, found.token, reviewers=reviewers)
        )

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        """Check whether the branch contains the merge. Without a forge or a token nothing can be checked."""
        place = self._hosts.place(claim.git_url)
        if place is None:
            return Proof(None, says="the repository is not at a configured forge")

        def look(api: PullRequestApi, found: NamedToken) -> Proof | ForgeError:
            return api.proof(place, found.token, claim=claim)

        answer = self._with_token(asker, place, look, rights=FOR_POLLS)
        if isinstance(answer, ForgeError) and answer.kind == "no_token":
            return Proof(None, says=answer.message)
        return answer

    def _of_pull(
        self,
        asker: Asker,
        pr_url: str,
        ask: Callable[[PullRequestApi, Target, NamedToken], _R],
        *,
        rights: Rights = FOR_MERGES,
    ) -> _R | ForgeError:
        target = self._hosts.target(pr_url, asker)
        if isinstance(target, ForgeError):
            return target
        return self._with_token(asker, target, lambda api, found: ask(api, target, found), rights=rights)

    def _with_token(
        self, asker: Asker, place: Place, ask: Callable[[PullRequestApi, NamedToken], _R], *, rights: Rights
    ) -> _R | ForgeError:
        host = place.at.host
        about = ForgeError("no_token", f"no token is stored for {host}", host=host, repository=place.project)
        try:
            found = self._token(asker, place, rights)
        except (SecretsUnavailable, AccessDenied) as error:
            unread = f"the token for {host} could not be read: {type(error).__name__}"
            return replace(about, kind="transient", message=unread, secret=names_for(asker, host)[0])
        except Terminal as error:
            return replace(about, message=error.message, secret=names_for(asker, host)[-1], is_platform=True)
        if isinstance(found, ForgeError):
            return replace(found, secret=SECRET + host, is_platform=True, host=host, repository=place.project)
        if found is None:
            return replace(about, secret=names_for(asker, host)[0])
        if isinstance(found, NotServed):
            problem = f"{about.message} for this town, and the platform's does not serve it for {found.project}"
            return replace(about, message=problem, secret=names_for(asker, host)[0])
        about = replace(about, secret=found.name, is_platform=found.is_platform)
        until = self._limits.until(host, found.token)
        if until is not None:
            return replace(
                about, kind="rate_limited", message=f"the limit of the token for {host} is used up", retry_at=until
            )
        answer = ask(self._apis[place.at.kind], found)
        if isinstance(answer, ForgeError):
            return replace(
                answer, secret=about.secret, is_platform=about.is_platform, host=host, repository=place.project
            )
        return answer

    def _token(self, asker: Asker, place: Place, rights: Rights) -> NamedToken | NotServed | ForgeError | None:
        """The token of the rig, of the town, of the App, of the platform: the first that there is (docs/forges.md).

        A person who stores a token for a town or rig means it. An App that serves the repository and is refused is an error and no
        reason to use a token that may do more.
        """
        host = place.at.host
        own = own_token(asker, host, self._secrets)
        if own is not None:
            return own
        of_app = None if self._apps is None else self._apps.token(place, asker, rights)
        if isinstance(of_app, AppToken):
            return NamedToken(SECRET + host, of_app.token, is_platform=True)
        if isinstance(of_app, ForgeError):
            return of_app
        return platform_token(asker, host, self._secrets, project=place.project) or of_app
