"""The credential with which a generation of an agent reads and pushes its rig's repository and works on pull requests.

The town's own token, which merges, is never handed out: agents get a token that a person stored for agents, under a name of its own
(`agents/towns/T/forges/HOST`). The setting agent_forge_access of the town or rig decides (docs/forges.md):

    app     an installation token of the deployment's GitHub App: an hour, this repository, contents, pull requests and issues.
            The default where an App is set for the host and serves the town and the repository
    stored  the token for agents of the rig, else of the town, else of the platform, if that serves the town and the repository
    none    nothing: agents push with what their container or machine provides. The default everywhere else

For a rig with an ssh address, agents also get its deploy key, if a person stored one, unless the setting is `none`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from shared.adapters.deploy_keys import DeployKey, deploy_key_of
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost, ForgeHosts, Place
from shared.adapters.forge_tokens import NotServed, agents_names_for, agents_token_for
from shared.domain.config import AgentForgeAccess
from shared.domain.errors import AccessDenied, Retryable, Terminal
from shared.domain.repositories import ForgeKind
from shared.ports.forge import Asker, ForgeError
from shared.ports.secrets import Secret, Secrets

if TYPE_CHECKING:
    from shared.adapters.github.app import GitHubApps

_USERNAMES: Final[dict[ForgeKind, str]] = {"github": "x-access-token", "gitlab": "oauth2"}
"""The user name beside which a forge takes a token as the password of git over https."""


@dataclass(frozen=True, slots=True)
class ForgeCredential:
    """A token for one repository, and the URL of its forge's API. `expires_at` is None for a token that a person stored: only the
    forge knows its end.
    """

    host: str
    kind: ForgeKind
    project: str
    username: str
    token: Secret = field(repr=False)
    api_url: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NoCredential:
    """There is none for this agent. `reason` says why, for the agent and for people."""

    reason: str


class AgentCredentials:
    """Finds the credential of an agent."""

    def __init__(
        self, secrets: Secrets, *, hosts: Iterable[ForgeHost] = USUAL_HOSTS, apps: "GitHubApps | None" = None
    ) -> None:
        self._secrets = secrets
        self._apps = apps
        self._hosts = ForgeHosts(hosts)

    def credential_for(
        self, asker: Asker, git_url: str, access: AgentForgeAccess | None, *, holder: str
    ) -> ForgeCredential | NoCredential:
        """The credential for the repository at an address. `holder` is the generation that gets it: no other gets the same token.

        Raises Retryable (also if the forge does not answer) and AccessDenied (of a secret): ask again later.
        """
        place = self._hosts.place(git_url)
        if place is None:
            return NoCredential("the rig's repository is not at a forge that the deployment knows")
        if access == "stored":
            return self._stored(asker, place)
        if access == "none":
            return NoCredential("the setting agent_forge_access is none: the town hands out no credential")
        found = self._of_app(asker, place, holder)
        if found is None and access is None:
            return NoCredential(
                "agent_forge_access is not set, and no App is set for this forge: the town hands out nothing"
            )
        return found or NoCredential(f"the setting agent_forge_access is app, and no App is set for {place.at.host}")

    def key_for(self, asker: Asker, git_url: str, access: AgentForgeAccess | None) -> DeployKey | None:
        """The deploy key of the asker's rig, if the address is for ssh. Raises Retryable and AccessDenied, as above."""
        return None if access == "none" else deploy_key_of(asker, git_url, self._secrets)

    def _of_app(self, asker: Asker, place: Place, holder: str) -> ForgeCredential | NoCredential | None:
        """A token of the host's App; None if no App is set."""
        if self._apps is None or place.at.kind != "github":
            return None
        from shared.adapters.github.app import FOR_AGENTS  # noqa: PLC0415 - with it comes an HTTP client

        try:
            found = self._apps.token(place, asker, FOR_AGENTS, holder=holder)
        except AccessDenied:
            raise
        except Terminal as error:
            return NoCredential(error.message)
        if isinstance(found, NotServed):
            return NoCredential(f"the App of {place.at.host} does not serve {found.project} for this town")
        if isinstance(found, ForgeError):
            if found.kind in ("transient", "rate_limited"):
                raise Retryable(found.message, hint="ask again in a minute")
            return NoCredential(found.message)
        if found is None:
            return None
        return _credential(place, found.token, found.expires_at)

    def _stored(self, asker: Asker, place: Place) -> ForgeCredential | NoCredential:
        host = place.at.host
        try:
            found = agents_token_for(asker, host, self._secrets, project=place.project)
        except AccessDenied:
            raise
        except Terminal as error:
            return NoCredential(error.message)
        if found is None:
            return NoCredential(f"no token for agents is stored for {host} ({agents_names_for(asker, host)[0]})")
        if isinstance(found, NotServed):
            return NoCredential(f"the platform's token for agents at {host} does not serve {found.project} here")
        return _credential(place, found.token, None)


def _credential(place: Place, token: Secret, expires_at: datetime | None) -> ForgeCredential:
    at = place.at
    return ForgeCredential(at.host, at.kind, place.project, _USERNAMES[at.kind], token, at.api_url, expires_at)
