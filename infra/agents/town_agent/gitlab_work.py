"""The merge requests of one project at GitLab, by REST; changes are requested by GraphQL, because only that can."""

from typing import Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import TypeAdapter

from infra.agents.town_agent.forge_work import ForgeFailed, Look, Pull, Remark, Spot, Thread, Verdict, is_said
from infra.agents.town_agent.gitlab_shapes import (
    Approvals,
    Discussion,
    MergeRequest,
    Note,
    Position,
    Requested,
    Reviewer,
    Short,
)
from shared.adapters.forge_hosts import Place
from shared.adapters.forge_http import ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.gitlab.pulls import GITLAB
from shared.ports.clock import Clock
from shared.ports.forge import ForgeError
from shared.ports.secrets import Secret

_T = TypeVar("_T")
_DONE: Final = TypeAdapter(object)
_SHORT: Final = TypeAdapter(Short)
_LIST: Final = TypeAdapter(list[Short])
_WHOLE: Final = TypeAdapter(MergeRequest)
_REVIEWERS: Final = TypeAdapter(list[Reviewer])
_DISCUSSIONS: Final = TypeAdapter(list[Discussion])
_NOTES: Final = TypeAdapter(list[Note])
_APPROVALS: Final = TypeAdapter(Approvals)
_REQUESTED: Final = TypeAdapter(Requested)
_DRAFT: Final = "Draft: "
_PAGE: Final = 100
_MOST_PAGES: Final = 20
_REQUEST: Final = """
mutation Request($project: ID!, $iid: String!) {
  mergeRequestRequestChanges(input: {projectPath: $project, iid: $iid}) { errors }
}"""


class GitLabWork:
    """Implements `ForgeWork`. One connection for each request."""

    def __init__(self, place: Place, token: Secret, clock: Clock) -> None:
        self._place = place
        self._token = token
        self._limits = ForgeLimits(clock)
        self._api = urlsplit(place.at.api_url).path
        self._project = f"{self._api}/projects/{quote(place.project, safe='')}"

    def open_of(self, branch: str) -> Pull | None:
        """The open merge request of a branch; None if there is none."""
        wanted = urlencode({"state": "opened", "source_branch": branch, "per_page": "1"})
        found = self._ask(_LIST, "GET", f"/merge_requests?{wanted}")
        return _pull(found[0]) if found else None

    def create(self, branch: str, base: str, *, title: str, body: str, draft: bool) -> Pull:
        """Open a merge request."""
        title = _DRAFT + title if draft else title
        asked = {"source_branch": branch, "target_branch": base, "title": title, "description": body}
        return _pull(self._ask(_SHORT, "POST", "/merge_requests", asked))

    def change(
        self, number: int, *, title: str | None = None, body: str | None = None, base: str | None = None
    ) -> None:
        """Change what is given."""
        asked = {"title": title, "description": body, "target_branch": base}
        given = {key: each for key, each in asked.items() if each is not None}
        self._ask(_SHORT, "PUT", f"/merge_requests/{number}", given)

    def look(self, number: int) -> Look:
        """Read a merge request with its checks, reviews and threads."""
        seen = self._ask(_WHOLE, "GET", f"/merge_requests/{number}")
        reviewers = self._ask(_REVIEWERS, "GET", f"/merge_requests/{number}/reviewers")
        pipeline = seen.get("head_pipeline")
        return Look(
            url=seen["web_url"],
            title=seen["title"],
            state=seen["state"],
            is_draft=seen["draft"],
            branch=seen["source_branch"],
            base=seen["target_branch"],
            head=seen["sha"],
            merge=(seen.get("detailed_merge_status") or "unknown",),
            decision=None,
            reviews=tuple((each["user"]["username"], each["state"]) for each in reviewers),
            checks=((f"pipeline {pipeline['id']}", pipeline["status"]),) if pipeline else (),
            threads=self._threads(number),
        )

    def last_comment(self, number: int) -> str | None:
        """The newest comment that is in no thread; None if there is none among the newest notes."""
        newest = urlencode({"order_by": "created_at", "sort": "desc", "per_page": str(_PAGE)})
        notes = self._ask(_NOTES, "GET", f"/merge_requests/{number}/notes?{newest}")
        return next((note["body"] for note in notes if not (note["system"] or note["resolvable"])), None)

    def comment(self, number: int, text: str) -> None:
        """Comment on the merge request as a whole."""
        self._ask(_DONE, "POST", f"/merge_requests/{number}/notes", {"body": text})

    def reply(self, number: int, thread_id: str, text: str) -> None:
        """Answer a thread."""
        self._ask(_DONE, "POST", f"{_discussion(number, thread_id)}/notes", {"body": text})

    def resolve(self, number: int, thread_id: str) -> None:
        """Resolve a thread."""
        self._ask(_DONE, "PUT", _discussion(number, thread_id), {"resolved": True})

    def open_thread(self, number: int, spot: Spot, text: str) -> None:
        """Open a thread: at a line or file of the newest version, or on the merge request as a whole."""
        asked: dict[str, object] = {"body": text}
        if spot.file is not None:
            refs = self._ask(_WHOLE, "GET", f"/merge_requests/{number}").get("diff_refs")
            if refs is None:
                raise ForgeFailed(
                    ForgeError("transient", "GitLab has not computed the changes of the merge request yet")
                )
            kind = {"position_type": "file"} if spot.line is None else {"position_type": "text", "new_line": spot.line}
            asked["position"] = {"new_path": spot.file, "old_path": spot.file, **refs, **kind}
        self._ask(_DONE, "POST", f"/merge_requests/{number}/discussions", asked)

    def review(self, number: int, verdict: Verdict, text: str, *, head: str) -> None:
        """Approve a head, or request changes; GitLab keeps the words as a comment."""
        if verdict == "approve":
            self._approve(number, head)
        else:
            self._request_changes(number)
        if text and not is_said(self.last_comment(number), text):
            self.comment(number, text)

    def _approve(self, number: int, head: str) -> None:
        """Approve once. To a second approval, and to one of an author, GitLab answers 401, as if the token were wrong."""
        seen = self._ask(_APPROVALS, "GET", f"/merge_requests/{number}/approvals")
        if seen["user_has_approved"]:
            return
        if not seen["user_can_approve"]:
            raise _refused("the user of this credential may not approve your own pull request, or any of this project")
        self._ask(_DONE, "POST", f"/merge_requests/{number}/approve", {"sha": head})

    def _request_changes(self, number: int) -> None:
        asked = {"query": _REQUEST, "variables": {"project": self._place.project, "iid": str(number)}}
        answer = self._send(_REQUESTED, "POST", self._api.removesuffix("/v4") + "/graphql", asked)
        payload = (answer.get("data") or {"mergeRequestRequestChanges": None})["mergeRequestRequestChanges"]
        said = [each["message"] for each in answer.get("errors") or ()] + (payload["errors"] if payload else [])
        if said:
            raise _refused(
                f"changes cannot be requested here: {said[0]}; open a thread instead, without --request-changes"
            )

    def _threads(self, number: int) -> tuple[Thread, ...]:
        found: list[Discussion] = []
        for page in range(1, _MOST_PAGES + 1):
            shown = self._ask(_DISCUSSIONS, "GET", f"/merge_requests/{number}/discussions?per_page={_PAGE}&page={page}")
            found += shown
            if len(shown) < _PAGE:
                break
        return tuple(_thread(each) for each in found if any(note["resolvable"] for note in each["notes"]))

    def _ask(self, shape: TypeAdapter[_T], verb: str, path: str, body: object = None) -> _T:
        return self._send(shape, verb, self._project + path, body)

    def _send(self, shape: TypeAdapter[_T], verb: str, path: str, body: object) -> _T:
        with ForgeClient(self._place, self._token, self._limits, dialect=GITLAB) as client:
            answer = client.ask(shape, verb, path, body)
        if isinstance(answer, ForgeError):
            raise ForgeFailed(answer)
        return answer


def _refused(why: str) -> ForgeFailed:
    return ForgeFailed(ForgeError("http", why, http_status=422))


def _pull(given: Short) -> Pull:
    return Pull(given["iid"], given["web_url"], given["target_branch"])


def _discussion(number: int, thread_id: str) -> str:
    return f"/merge_requests/{number}/discussions/{quote(thread_id, safe='')}"


def _thread(given: Discussion) -> Thread:
    notes = [note for note in given["notes"] if not note["system"]]
    nowhere: Position = {}
    at = next((place for note in notes if (place := note.get("position"))), nowhere)
    remarks = tuple(Remark(note["author"]["username"], note["body"]) for note in notes)
    resolved = all(note.get("resolved") for note in notes if note["resolvable"])
    return Thread(given["id"], at.get("new_path"), at.get("new_line"), resolved, remarks)
