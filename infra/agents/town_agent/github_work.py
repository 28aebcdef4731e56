"""The pull requests of one repository at GitHub: GraphQL, except where only REST publishes at once."""

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import TypeAdapter

from infra.agents.town_agent.forge_work import ForgeFailed, Look, Pull, Remark, Spot, Thread, Verdict, is_said
from infra.agents.town_agent.github_shapes import (
    Author,
    CheckRun,
    Found,
    Identified,
    Made,
    OneIdentified,
    OneWhole,
    OpenOnes,
    Opinion,
    ReviewThread,
    StatusContext,
    Whole,
)
from shared.adapters.forge_hosts import Place
from shared.adapters.forge_http import ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.github.call import GITHUB, GitHubCall
from shared.ports.clock import Clock
from shared.ports.forge import ForgeError
from shared.ports.secrets import Secret

_T = TypeVar("_T")
_DONE: Final = TypeAdapter(object)
_MADE: Final = TypeAdapter(Made)
_OPEN_ONES: Final = TypeAdapter(Found[OpenOnes])
_IDENTIFIED: Final = TypeAdapter(Found[OneIdentified])
_WHOLE: Final = TypeAdapter(Found[OneWhole])
_OPEN: Final = """
query Open($owner: String!, $name: String!, $branch: String!) { repository(owner: $owner, name: $name) {
  pullRequests(first: 1, headRefName: $branch, states: [OPEN]) { nodes { number url baseRefName } }
} }"""
_ID: Final = """
query Id($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) {
  pullRequest(number: $number) { id files(first: 1) { nodes { path } }
    comments(last: 1) { nodes { body } }
    latestOpinionatedReviews(first: 100) { nodes { state body viewerDidAuthor commit { oid } } }
  }
} }"""
_LOOK: Final = """
query Look($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) {
  pullRequest(number: $number) {
    url title state isDraft headRefName headRefOid baseRefName mergeable mergeStateStatus reviewDecision
    latestOpinionatedReviews(first: 100) { nodes { state author { login } } }
    commits(last: 1) { nodes { commit { statusCheckRollup { contexts(first: 100) { nodes {
      __typename ... on CheckRun { name status conclusion } ... on StatusContext { context state }
    } } } } } }
    reviewThreads(first: 100) { nodes { id isResolved path line
      comments(first: 100) { nodes { body author { login } } }
    } }
  }
} }"""
_COMMENT: Final = """
mutation Comment($id: ID!, $text: String!) { addComment(input: {subjectId: $id, body: $text}) { clientMutationId } }"""
_REPLY: Final = """
mutation Reply($id: ID!, $text: String!) {
  addPullRequestReviewThreadReply(input: {pullRequestReviewThreadId: $id, body: $text}) { clientMutationId }
}"""
_RESOLVE: Final = "mutation Resolve($id: ID!) { resolveReviewThread(input: {threadId: $id}) { thread { isResolved } } }"
_REVIEW: Final = """
mutation Review($id: ID!, $head: GitObjectID!, $event: PullRequestReviewEvent!, $text: String) {
  addPullRequestReview(input: {pullRequestId: $id, commitOID: $head, event: $event, body: $text}) { clientMutationId }
}"""
_CHECKS: Final = "statusCheckRollup"
_EVENTS: Final[Mapping[Verdict, str]] = {"approve": "APPROVE", "request-changes": "REQUEST_CHANGES"}
_OPINIONS: Final[Mapping[Verdict, str]] = {"approve": "APPROVED", "request-changes": "CHANGES_REQUESTED"}


class GitHubWork:
    """Implements `ForgeWork`. One connection for each request."""

    def __init__(self, place: Place, token: Secret, clock: Clock) -> None:
        self._place = place
        self._token = token
        self._limits = ForgeLimits(clock)

    def open_of(self, branch: str) -> Pull | None:
        """The open pull request of a branch; None if there is none."""
        nodes = self._repository(_OPEN_ONES, _OPEN, branch=branch)["pullRequests"]["nodes"]
        return Pull(nodes[0]["number"], nodes[0]["url"], nodes[0]["baseRefName"]) if nodes else None

    def create(self, branch: str, base: str, *, title: str, body: str, draft: bool) -> Pull:
        """Open a pull request."""
        asked = {"title": title, "body": body, "head": branch, "base": base, "draft": draft}
        made = self._rest(_MADE, "POST", "/pulls", asked)
        return Pull(made["number"], made["html_url"], base)

    def change(
        self, number: int, *, title: str | None = None, body: str | None = None, base: str | None = None
    ) -> None:
        """Change what is given."""
        asked = {"title": title, "body": body, "base": base}
        self._rest(
            _DONE, "PATCH", f"/pulls/{number}", {name: value for name, value in asked.items() if value is not None}
        )

    def look(self, number: int) -> Look:
        """Read a pull request with its checks, reviews and threads."""
        seen, unread = self._whole(number)
        commits = seen["commits"]["nodes"]
        rollup = commits[0]["commit"][_CHECKS] if commits else None
        contexts = rollup["contexts"]["nodes"] if rollup else ()
        checks = tuple(_check(each) for each in contexts if each is not None)
        reviews = seen["latestOpinionatedReviews"]["nodes"]
        return Look(
            url=seen["url"],
            title=seen["title"],
            state=seen["state"],
            is_draft=seen["isDraft"],
            branch=seen["headRefName"],
            base=seen["baseRefName"],
            head=seen["headRefOid"],
            merge=(seen["mergeable"], seen["mergeStateStatus"]),
            decision=seen.get("reviewDecision"),
            reviews=tuple((_login(each["author"]), each["state"]) for each in reviews),
            checks=None if unread else checks,
            threads=tuple(_thread(each) for each in seen["reviewThreads"]["nodes"]),
        )

    def _whole(self, number: int) -> tuple[Whole, bool]:
        """A pull request, and whether the credential may not read its checks, as that of an App may not."""
        with self._client() as client:
            answer = _sure(GitHubCall(client, self._place).partly(_WHOLE, _LOOK, {"number": number}))
        others = [each for each in answer.problems if _CHECKS not in each.path]
        if others:
            raise ForgeFailed(others[0].error)
        return answer.value["repository"]["pullRequest"], bool(answer.problems)

    def last_comment(self, number: int) -> str | None:
        """The newest comment on the pull request as a whole; None if there is none."""
        nodes = self._pull(number)["comments"]["nodes"]
        return nodes[-1]["body"] if nodes else None

    def comment(self, number: int, text: str) -> None:
        """Comment on the pull request as a whole."""
        self._graphql(_DONE, _COMMENT, id=self._pull(number)["id"], text=text)

    def reply(self, number: int, thread_id: str, text: str) -> None:  # noqa: ARG002 - the id alone names a thread here
        """Answer a thread."""
        self._graphql(_DONE, _REPLY, id=thread_id, text=text)

    def resolve(self, number: int, thread_id: str) -> None:  # noqa: ARG002 - as above
        """Resolve a thread."""
        self._graphql(_DONE, _RESOLVE, id=thread_id)

    def open_thread(self, number: int, spot: Spot, text: str) -> None:
        """Open a thread. By GraphQL, it would wait in a review that nobody has submitted."""
        asked: dict[str, object] = {"body": text, "commit_id": spot.head, "path": spot.file or self._first_file(number)}
        asked |= {"subject_type": "file"} if spot.line is None else {"line": spot.line, "side": "RIGHT"}
        self._rest(_DONE, "POST", f"/pulls/{number}/comments", asked)

    def review(self, number: int, verdict: Verdict, text: str, *, head: str) -> None:
        """Approve a head, or request changes of it, in these words: once, although GitHub would take a second such review."""
        pull = self._pull(number)
        if any(_is_ours(each, verdict, text, head=head) for each in pull["latestOpinionatedReviews"]["nodes"]):
            return
        self._graphql(_DONE, _REVIEW, id=pull["id"], head=head, event=_EVENTS[verdict], text=text or None)

    def _first_file(self, number: int) -> str:
        files = self._pull(number)["files"]
        if not files or not files["nodes"]:
            raise ForgeFailed(ForgeError("http", "the pull request changes no file", http_status=422))
        return files["nodes"][0]["path"]

    def _pull(self, number: int) -> Identified:
        return self._repository(_IDENTIFIED, _ID, number=number)["pullRequest"]

    def _repository(self, shape: TypeAdapter[Found[_T]], query: str, **variables: object) -> _T:
        return self._graphql(shape, query, **variables)["repository"]

    def _graphql(self, shape: TypeAdapter[_T], query: str, **variables: object) -> _T:
        with self._client() as client:
            answer = GitHubCall(client, self._place).graphql(shape, query, variables)
        return _sure(answer)

    def _rest(self, shape: TypeAdapter[_T], verb: str, path: str, body: object) -> _T:
        with self._client() as client:
            answer = GitHubCall(client, self._place).ask(shape, verb, path, body)
        return _sure(answer)

    def _client(self) -> ForgeClient:
        return ForgeClient(self._place, self._token, self._limits, dialect=GITHUB)


def _sure(answer: _T | ForgeError) -> _T:
    if isinstance(answer, ForgeError):
        raise ForgeFailed(answer)
    return answer


def _login(author: Author | None) -> str:
    return author["login"] if author else "somebody who is gone"


def _is_ours(given: Opinion, verdict: Verdict, text: str, *, head: str) -> bool:
    """Whether this is the same review, which an earlier try of the command has made."""
    is_same = given["state"] == _OPINIONS[verdict] and is_said(given["body"], text)
    return given["viewerDidAuthor"] and is_same and given["commit"] is not None and given["commit"]["oid"] == head


def _check(given: CheckRun | StatusContext) -> tuple[str, str]:
    if "context" in given:
        return given["context"], given["state"]
    return given["name"], given["conclusion"] or given["status"]


def _thread(given: ReviewThread) -> Thread:
    remarks = tuple(Remark(_login(each["author"]), each["body"]) for each in given["comments"]["nodes"])
    return Thread(given["id"], given["path"], given["line"], given["isResolved"], remarks)
