"""The forges of this machine: the hosts besides github.com and gitlab.com, and where their tokens are kept.

<data>/.secrets          tokens, one file each, readable only by their owner
<data>/.forges.json      the hosts of the last --forge-host, for later commands on this directory

With a prefix (--secrets-prefix, TOWNCTL_SECRETS_PREFIX) tokens are in AWS Secrets Manager, where a deployed stack keeps its
own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.adapters import outside_files
from shared.adapters.clock import SystemClock
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost
from shared.adapters.local_supervisor import write_atomically
from shared.adapters.secret_files import SecretFiles
from shared.domain.errors import Refused
from shared.ports.clock import Clock
from shared.ports.forge import SourceForge
from shared.ports.secrets import Secrets
from shared.ports.town_store import TownStore

if TYPE_CHECKING:
    from functions.credentials.issuing import Issuing

HOST_HELP: Final = (
    "A self-hosted forge: github=HOST or gitlab=HOST, followed by =API-URL if its API is elsewhere; "
    "remembered for this data directory."
)
PREFIX_VARIABLE: Final = "TOWNCTL_SECRETS_PREFIX"
PREFIX_HELP: Final = (
    "Keep forge tokens in AWS Secrets Manager below this prefix (the stack's output SecretsPrefix) instead of in the data "
    f"directory; default: {PREFIX_VARIABLE}."
)


def secret_files(data: Path) -> SecretFiles:
    """The tokens of a data directory."""
    return SecretFiles(data / ".secrets")


def forge_of(
    data: Path, clock: Clock, *, hosts: Sequence[ForgeHost] = (), secrets_prefix: str | None = None
) -> SourceForge:
    """GitHub and GitLab at the usual hosts and at these, with the tokens of the directory or those below a prefix."""
    from shared.adapters.forges import Forges
    from shared.adapters.github.app import GitHubApps

    secrets = _secrets_of(data, clock, secrets_prefix)
    apps = GitHubApps(secrets, SystemClock())  # the time of the world, whatever clock the towns have
    return Forges(secrets, clock, hosts=(*USUAL_HOSTS, *hosts), apps=apps)


def issuing_of(data: Path, store: TownStore, *, secrets_prefix: str | None = None) -> Issuing:
    """Issues the credentials of agents from what is stored for them in the directory, or below a prefix."""
    from functions.credentials.issuing import Issuing
    from shared.adapters.agent_credentials import AgentCredentials
    from shared.adapters.github.app import GitHubApps

    secrets = _secrets_of(data, SystemClock(), secrets_prefix)
    apps = GitHubApps(secrets, SystemClock())
    return Issuing(store, AgentCredentials(secrets, hosts=(*USUAL_HOSTS, *hosts_of(data, ())), apps=apps))


def _secrets_of(data: Path, clock: Clock, secrets_prefix: str | None) -> Secrets:
    from functions.secret_stores import secrets_below

    prefix = prefix_of(secrets_prefix)
    return secret_files(data) if prefix is None else secrets_below(prefix, clock)


def prefix_of(given: str | None) -> str | None:
    """The prefix of --secrets-prefix, else that of the environment; None: tokens are in the data directory."""
    return given or os.environ.get(PREFIX_VARIABLE) or None


def hosts_of(data: Path, given: Sequence[str]) -> tuple[ForgeHost, ...]:
    """The self-hosted forges of --forge-host, which are remembered; without any, the remembered ones. Raises Refused."""
    path = data / ".forges.json"
    if given:
        named = tuple(ForgeHost.from_text(text) for text in given)
        write_atomically(path, {"hosts": list(given)})
        return named
    try:
        return tuple(ForgeHost.from_text(str(text)) for text in outside_files.json_of(path)["hosts"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = f"give --forge-host again, or delete {path}"
        problem = f"cannot read the forge hosts in {path}: {error}"
        raise Refused(problem, status=400, path="forge-host", hint=hint) from error
