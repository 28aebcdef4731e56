"""Whether a pull request belongs to a repository: the address of one against the git address of the other.

Only what can be read beyond doubt counts. An address with unusual characters, dot segments or too few parts names no
repository, so nothing is merged on its account.
"""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a forge, all in lower case. `owner` of a GitLab project may be a path of groups."""

    host: str
    owner: str
    name: str


_HOST: Final = r"(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)"
_USER: Final = r"(?:[^@/?#\s\\]*@)?"
_WITH_SCHEME: Final = re.compile(rf"(?:https?|ssh|git)://{_USER}{_HOST}(?::\d+)?/(?P<path>[^?#]+)")
_SCP_LIKE: Final = re.compile(rf"{_USER}{_HOST}:/?(?P<path>[^/?#:][^?#:]*)")
_PULL_REQUEST: Final = re.compile(
    rf"https://{_USER}{_HOST}(?::\d+)?/(?P<path>[^?#]+?)/(?:pull|-/merge_requests|merge_requests)/\d+(?:[/?#].*)?"
)
_SEGMENT: Final = re.compile(r"[a-z0-9_.+~-]+", re.ASCII)


def repository_at(git_url: str) -> Repository | None:
    """The repository that a git address names: https, ssh:// or user@host:path; None if that is not certain."""
    address = git_url.strip().lower()
    return _repository(_WITH_SCHEME.fullmatch(address) or _SCP_LIKE.fullmatch(address))


def repository_of_pull_request(pr_url: str) -> Repository | None:
    """The repository of a pull request's page at GitHub or GitLab; None if that is not certain."""
    return _repository(_PULL_REQUEST.fullmatch(pr_url.strip().lower()))


def same_repository(pr_url: str, git_url: str) -> bool:
    """Whether a pull request belongs to the repository at a git address."""
    of_pull_request = repository_of_pull_request(pr_url)
    return of_pull_request is not None and of_pull_request == repository_at(git_url)


def _repository(found: re.Match[str] | None) -> Repository | None:
    if found is None:
        return None
    *owner, name = found["path"].removesuffix("/").removesuffix(".git").split("/")
    parts = (*owner, name)
    if not owner or not all(_SEGMENT.fullmatch(part) and part not in (".", "..") for part in parts):
        return None
    return Repository(found["host"], "/".join(owner), name)
