"""The parts of GitHub's answers that `town-agent pr` reads. `Found` is what a query finds in the repository that it asks about."""

from typing import Generic, NotRequired, TypeVar, final

from typing_extensions import TypedDict

_T = TypeVar("_T")


class Found(TypedDict, Generic[_T]):
    """What a query finds in a repository."""

    repository: _T


class Nodes(TypedDict, Generic[_T]):
    """A connection."""

    nodes: list[_T]


class Open(TypedDict):
    """An open pull request."""

    number: int
    url: str
    baseRefName: str


class OpenOnes(TypedDict):
    """The open pull requests of a branch."""

    pullRequests: Nodes[Open]


class Made(TypedDict):
    """A pull request as REST shows it."""

    number: int
    html_url: str


class File(TypedDict):
    """A changed file."""

    path: str


class Words(TypedDict):
    """A comment on a pull request as a whole."""

    body: str


class Named(TypedDict):
    """A commit's id."""

    oid: str


class Opinion(TypedDict):
    """The last opinion of a reviewer, and whether the holder of the credential gave it."""

    state: str
    body: str
    viewerDidAuthor: bool
    commit: Named | None


class Identified(TypedDict):
    """The node id of a pull request, its first changed file, its last comment, and the opinions about it."""

    id: str
    files: Nodes[File] | None
    comments: Nodes[Words]
    latestOpinionatedReviews: Nodes[Opinion]


class OneIdentified(TypedDict):
    """The same in its repository."""

    pullRequest: Identified


class Author(TypedDict):
    """A person or program."""

    login: str


class Review(TypedDict):
    """The last opinion of a reviewer."""

    state: str
    author: Author | None


@final
class CheckRun(TypedDict):
    """A check of an App."""

    name: str
    status: str
    conclusion: str | None


@final
class StatusContext(TypedDict):
    """A status that a program set."""

    context: str
    state: str


class Comment(TypedDict):
    """A comment in a thread."""

    body: str
    author: Author | None


class ReviewThread(TypedDict):
    """A thread at a file."""

    id: str
    isResolved: bool
    path: str
    line: int | None
    comments: Nodes[Comment]


class Rollup(TypedDict):
    """The checks of a commit. One that GitHub refuses is null."""

    contexts: Nodes[CheckRun | StatusContext | None]


class Commit(TypedDict):
    """A commit."""

    statusCheckRollup: Rollup | None


class CommitOfPull(TypedDict):
    """A commit of a pull request."""

    commit: Commit


class Whole(TypedDict):
    """A pull request with its checks, reviews and threads."""

    url: str
    title: str
    state: str
    isDraft: bool
    headRefName: str
    headRefOid: str
    baseRefName: str
    mergeable: str
    mergeStateStatus: str
    reviewDecision: NotRequired[str | None]
    latestOpinionatedReviews: Nodes[Review]
    commits: Nodes[CommitOfPull]
    reviewThreads: Nodes[ReviewThread]


class OneWhole(TypedDict):
    """The same in its repository."""

    pullRequest: Whole
