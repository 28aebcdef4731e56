"""Reads the addresses of repositories and pull requests. This is the only module that parses them.

An address counts only if it can be read without ambiguity. One with unusual characters, dot segments or too few parts
names no repository, so nothing is read or merged because of it. Whether a pull request belongs to a repository is decided by the
forge's ids, not by addresses: see `shared.domain.identities`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a forge, in lower case. The `owner` of a GitLab project may be a path of groups."""

    host: str
    owner: str
    name: str


ForgeKind = Literal["github", "gitlab"]


@dataclass(frozen=True, slots=True)
class PullRequestAddress:
    """A pull request that an address names unambiguously. `authority` is the host as written, with user and port if the
    address has them. `kind` is the forge that uses this form of address.
    """

    repository: Repository
    number: int
    authority: str
    kind: ForgeKind


_HOST: Final = r"(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)"
_USER: Final = r"(?:[^@/?#\s\\]*@)?"
_PORT: Final = r"(?::[0-9]{1,5})?"
_WITH_SCHEME: Final = re.compile(rf"(?:https?|ssh|git)://{_USER}{_HOST}{_PORT}/(?P<path>[^?#]+)")
_SCP_LIKE: Final = re.compile(rf"{_USER}{_HOST}:/?(?P<path>[^/?#:][^?#:]*)")
_PULL_REQUEST: Final = re.compile(
    rf"https://(?P<authority>{_USER}{_HOST}{_PORT})/(?P<path>[^?#]+?)"
    r"/(?P<style>pull|-/merge_requests|merge_requests)/(?P<number>[1-9][0-9]{0,9})(?:[/?#].*)?"
)
_LOCAL: Final = re.compile(r"(?:file://)?/[^\x00-\x1f\x7f]*[^\x00-\x20\x7f/]/?")
_ANY_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_LOGIN: Final = r"(?:[A-Za-z0-9_][^@/?#\s\\:]*@)?"
_OVER_HTTPS: Final = re.compile(rf"(?i:https)://{_ANY_HOST}{_PORT}/[^?#\\]+")
_OVER_SSH: Final = re.compile(rf"(?i:ssh)://{_LOGIN}{_ANY_HOST}{_PORT}/[^?#\\]+")
_LIKE_SCP: Final = re.compile(rf"{_LOGIN}{_ANY_HOST}:(?!:|//)[^?#\\:-][^?#\\:]*")
_SEGMENT: Final = re.compile(r"[a-z0-9_.+~-]+", re.ASCII)


def repository_at(git_url: str) -> Repository | None:
    """The repository that a git address (https, ssh:// or user@host:path) names; None if the address is ambiguous."""
    address = _plain(git_url)
    return _repository(_WITH_SCHEME.fullmatch(address) or _SCP_LIKE.fullmatch(address))


def name_of(git_url: str) -> str | None:
    """The `owner/name` that a git address names; None if the address is ambiguous."""
    repository = repository_at(git_url)
    return None if repository is None else f"{repository.owner}/{repository.name}"


def names_repository(text: str) -> bool:
    """Whether a text names one repository of a forge: by its git address, or as `owner/name`."""
    return name_of(text) is not None or name_of(f"https://a/{text}") == text.lower()


def pull_request_at(pr_url: str) -> PullRequestAddress | None:
    """The pull request of a web address at GitHub or GitLab; None if the address is ambiguous."""
    found = _PULL_REQUEST.fullmatch(_plain(pr_url))
    repository = _repository(found)
    if found is None or repository is None:
        return None
    kind: ForgeKind = "github" if found["style"] == "pull" else "gitlab"
    return PullRequestAddress(repository, int(found["number"]), found["authority"], kind)


def is_local(git_url: str) -> bool:
    """Whether a git address is an absolute path or file:// address: a repository on the machine on which git runs."""
    return _LOCAL.fullmatch(git_url) is not None


def transport_of(git_url: str) -> Literal["https", "ssh", "file"] | None:
    """How git reaches the repository at an address, which need not be at a forge: over https, over ssh, or on this machine's disk.

    None for everything else: other transports (some of them run programs, such as `ext::`, or wait forever, such as `fd::`),
    options, relative paths, and addresses with characters that mean something else to another reader.
    """
    if is_local(git_url):
        return "file"
    if not (git_url.isascii() and git_url.isprintable()) or " " in git_url:
        return None
    if _OVER_HTTPS.fullmatch(git_url):
        return "https"
    return "ssh" if _OVER_SSH.fullmatch(git_url) or _LIKE_SCP.fullmatch(git_url) else None


def same_pull_request(one: str, other: str) -> bool:
    """Whether two web addresses lead to the same pull request. Ambiguous ones do only if they are equal."""
    first, second = pull_request_at(one), pull_request_at(other)
    if first is None or second is None:
        return one == other
    return (first.repository, first.number, first.kind) == (second.repository, second.number, second.kind)


def _plain(address: str) -> str:
    """An address in lower case; empty if it has characters that no address has, such as letters that look like ASCII ones."""
    stripped = address.strip()
    return stripped.lower() if stripped.isascii() and stripped.isprintable() else ""


def _repository(found: re.Match[str] | None) -> Repository | None:
    if found is None:
        return None
    *owner, name = found["path"].removesuffix("/").removesuffix(".git").split("/")
    parts = (*owner, name)
    if not owner or not all(_SEGMENT.fullmatch(part) and part not in (".", "..") for part in parts):
        return None
    return Repository(found["host"], "/".join(owner), name)
