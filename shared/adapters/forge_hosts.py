"""The configured forges, and the pull request that a URL identifies.

A URL is accepted only if its host is exactly a configured one, and requests go only to the API address configured for that
host. Only owner, repository and number of a URL from an agent go into a request.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from shared.domain.errors import Refused
from shared.domain.repositories import ForgeKind, pull_request_at, repository_at
from shared.ports.forge import Asker, ForgeError

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?", re.ASCII)
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class ForgeHost:
    """One forge: the host of its web pages (with the port, unless that is 443), and the URL of its API."""

    host: str
    kind: ForgeKind
    api_url: str

    @classmethod
    def of(cls, kind: ForgeKind, host: str, api_url: str = "") -> "ForgeHost":
        """A forge at its usual API address or at `api_url`. Raises Refused unless that is https, or http on this machine."""
        host = host.lower()
        if not _HOST.fullmatch(host):
            raise Refused(
                f"{host[:80]!r} is not a host name", status=400, path="forge-host", hint="write it as git.example.com"
            )
        address = (api_url or _usual_api(kind, host)).rstrip("/")
        if not _is_api_address(address):
            hint = "write it as https://git.example.com/api/v3"
            raise Refused(
                f"the API address of {host} must be an https URL of a server", status=400, path="forge-host", hint=hint
            )
        return cls(host, kind, address)

    @classmethod
    def from_text(cls, text: str) -> "ForgeHost":
        """The forge in a configuration text: github=HOST or gitlab=HOST, optionally followed by =API-URL. Raises Refused."""
        kind, _, rest = text.partition("=")
        host, _, api_url = rest.partition("=")
        if kind not in get_args(ForgeKind):
            hint = "write it as gitlab=git.example.com"
            raise Refused(f"{text[:80]!r} does not name a forge", status=400, path="forge-host", hint=hint)
        named: Any = kind
        return cls.of(named, host, api_url)


def _is_api_address(address: str) -> bool:
    """Whether it is the URL of a server: https, or http on this machine; without a user, a password or a query."""
    try:
        parts = urlsplit(address)
        has_port = parts.port != 0  # raises ValueError if it is not the number of a port
    except ValueError:
        return False
    is_ours = parts.scheme == "http" and parts.hostname in _LOOPBACK
    is_plain = "@" not in parts.netloc and not parts.query
    return (parts.scheme == "https" or is_ours) and bool(parts.hostname) and has_port and is_plain


def _usual_api(kind: ForgeKind, host: str) -> str:
    if host == "github.com":
        return "https://api.github.com"
    return f"https://{host}/api/{'v3' if kind == 'github' else 'v4'}"


USUAL_HOSTS: Final = (ForgeHost.of("github", "github.com"), ForgeHost.of("gitlab", "gitlab.com"))
"""Forges that need no configuration; every other host does."""


@dataclass(frozen=True, slots=True)
class Place:
    """A repository at a known forge."""

    at: ForgeHost
    owner: str
    name: str

    @property
    def project(self) -> str:
        """Owner and name, as one path."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class Target(Place):
    """A pull request at a known forge."""

    number: int


class ForgeHosts:
    """The forges of a deployment."""

    def __init__(self, hosts: Iterable[ForgeHost] = USUAL_HOSTS) -> None:
        self._hosts = {each.host: each for each in hosts}
        self._without_port = {each.host.partition(":")[0]: each for each in self._hosts.values()}

    def place(self, git_url: str) -> Place | None:
        """The repository of a git address, if its forge is configured. The port is that of git, so it is not compared."""
        repository = repository_at(git_url)
        at = None if repository is None else self._hosts.get(repository.host, self._without_port.get(repository.host))
        if repository is None or at is None or (at.kind == "github" and "/" in repository.owner):
            return None
        return Place(at, repository.owner, repository.name)

    def target(self, pr_url: str, asker: Asker) -> Target | ForgeError:
        """The pull request at a URL, if its forge is configured and its host is that of the asker's rig."""
        address = pull_request_at(pr_url)
        at = None if address is None else self._hosts.get(address.authority)
        if address is None or at is None or at.kind != address.kind:
            return ForgeError("unrecognized_url", "this is not the address of a pull request at a configured forge")
        repository = address.repository
        if asker.host is not None and asker.host != repository.host:
            return ForgeError(
                "host_mismatch", f"the pull request is at {repository.host}, its rig's repository at {asker.host}"
            )
        if at.kind == "github" and "/" in repository.owner:
            return ForgeError("unrecognized_url", "the address has more parts than the address of a GitHub repository")
        return Target(at, repository.owner, repository.name, address.number)
