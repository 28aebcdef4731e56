"""The parts of GitLab's answers that `town-agent pr` reads."""

from typing import NotRequired

from typing_extensions import TypedDict


class User(TypedDict):
    """A person."""

    username: str


class Pipeline(TypedDict):
    """The pipeline of a head."""

    id: int
    status: str


class DiffRefs(TypedDict):
    """The commits that a position in the newest version of the diff is about."""

    base_sha: str
    start_sha: str
    head_sha: str


class Short(TypedDict):
    """A merge request as lists and changes of it show it."""

    iid: int
    web_url: str
    target_branch: str


class MergeRequest(Short):
    """A merge request as a question about it alone shows it."""

    title: str
    state: str
    draft: bool
    source_branch: str
    sha: str
    detailed_merge_status: NotRequired[str | None]
    head_pipeline: NotRequired[Pipeline | None]
    diff_refs: NotRequired[DiffRefs | None]


class Reviewer(TypedDict):
    """A reviewer, and what they said last."""

    user: User
    state: str


class Approvals(TypedDict):
    """Whether the asker may approve, and whether they did."""

    user_has_approved: bool
    user_can_approve: bool


class Position(TypedDict):
    """Where in the diff a note stands. The line is null for one that is about the whole file or about a removed line."""

    new_path: NotRequired[str | None]
    new_line: NotRequired[int | None]


class Note(TypedDict):
    """What somebody wrote, or what GitLab itself notes."""

    body: str
    author: User
    system: bool
    resolvable: bool
    resolved: NotRequired[bool]
    position: NotRequired[Position | None]


class Discussion(TypedDict):
    """A thread, or a note that is none."""

    id: str
    notes: list[Note]


class Error(TypedDict):
    """An error of GraphQL."""

    message: str


class Payload(TypedDict):
    """What a mutation says."""

    errors: list[str]


class RequestedChanges(TypedDict):
    """What the mutation of the request for changes gives."""

    mergeRequestRequestChanges: Payload | None


class Requested(TypedDict):
    """The answer to the request for changes."""

    data: NotRequired[RequestedChanges | None]
    errors: NotRequired[list[Error]]
