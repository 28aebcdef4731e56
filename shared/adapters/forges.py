"""All forges of a deployment behind one port, with the checks that precede every request.

Every pull request is checked in the same way: its URL is parsed, its host must be configured and must be the host of its
rig's repository, a token for that host must be stored, and the limit of that token must not be used up. Nothing is sent
before that.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost, ForgeHosts, Target
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.forge_tokens import token_for
from shared.adapters.github_forge import GitHubPullRequests
from shared.adapters.gitlab_forge import GitLabMergeRequests
from shared.domain.errors import AccessDenied, SecretsUnavailable
from shared.domain.repositories import ForgeKind
from shared.ports.clock import Clock
from shared.ports.forge import Asker, ForgeError, Merged, NotMerged, PullRequest
from shared.ports.secrets import Secret, Secrets

_R = TypeVar("_R")


class PullRequestApi(Protocol):
    """The pull requests of one kind of forge. No method raises for a failure of the network or the forge."""

    def read(self, target: Target, token: Secret, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read the state of a pull request."""
        ...

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | NotMerged | ForgeError:
        """Merge a pull request at exactly that head."""
        ...


class Forges:
    """The SourceForge port over GitHub and GitLab, hosted by their vendors or self-hosted."""

    def __init__(self, secrets: Secrets, clock: Clock, *, hosts: Iterable[ForgeHost] = USUAL_HOSTS) -> None:
        self._secrets = secrets
        self._hosts = ForgeHosts(hosts)
        self._limits = ForgeLimits(clock)
        self._apis: Mapping[ForgeKind, PullRequestApi] = {
            "github": GitHubPullRequests(self._limits),
            "gitlab": GitLabMergeRequests(self._limits),
        }

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read the state of a pull request."""
        return self._checked(
            asker, pr_url, lambda api, target, token: api.read(target, token, want_feedback=want_feedback)
        )

    def merge(
        self,
        asker: Asker,
        pr_url: str,
        *,
        head_sha: str | None,
        effect_id: str,  # noqa: ARG002 - the head is the idempotency key: a forge merges a head once
    ) -> Merged | NotMerged | ForgeError:
        """Merge a pull request at exactly that head."""
        return self._checked(asker, pr_url, lambda api, target, token: api.merge(target, token, head_sha=head_sha))

    def _checked(
        self, asker: Asker, pr_url: str, ask: Callable[[PullRequestApi, Target, Secret], _R]
    ) -> _R | ForgeError:
        target = self._hosts.target(pr_url, asker)
        if isinstance(target, ForgeError):
            return target
        host = target.at.host
        try:
            token = token_for(asker, host, self._secrets)
        except (SecretsUnavailable, AccessDenied) as error:
            return ForgeError("transient", f"the token for {host} could not be read: {type(error).__name__}")
        if token is None:
            return ForgeError("no_token", f"no token is stored for {host}")
        until = self._limits.until(host, token)
        if until is not None:
            return ForgeError("rate_limited", f"the limit of the token for {host} is used up", retry_at=until)
        return ask(self._apis[target.at.kind], target, token)
