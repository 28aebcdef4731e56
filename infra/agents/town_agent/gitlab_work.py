"""The merge requests of one project at GitLab, by REST; changes are requested by GraphQL, because only that can."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import TypeAdapter

from infra.agents.town_agent.forge_work import ForgeFailed, Look, Pull, Remark, Spot, Thread, Verdict
from shared.adapters.forge_hosts import Place
from shared.adapters.forge_http import ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.gitlab.pulls import GITLAB
from shared.ports.clock import Clock
from shared.ports.forge import ForgeError
from shared.ports.secrets import Secret

_T = TypeVar("_T")
_ONE: Final[TypeAdapter[dict[str, Any]]] = TypeAdapter(dict[str, Any])
_MANY: Final[TypeAdapter[list[dict[str, Any]]]] = TypeAdapter(list[dict[str, Any]])
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
        found = self._ask(_MANY, "GET", f"/merge_requests?{wanted}")
        return _pull(found[0]) if found else None

    def create(self, branch: str, base: str, *, title: str, body: str, draft: bool) -> Pull:
        """Open a merge request."""
        title = _DRAFT + title if draft else title
        asked = {"source_branch": branch, "target_branch": base, "title": title, "description": body}
        made = self._ask(_ONE, "POST", "/merge_requests", asked)
        return _pull(made)

    def change(
        self, number: int, *, title: str | None = None, body: str | None = None, base: str | None = None
    ) -> None:
        """Change what is given."""
        asked = {"title": title, "description": body, "target_branch": base}
        self._ask(
            _ONE, "PUT", f"/merge_requests/{number}", {key: each for key, each in asked.items() if each is not None}
        )

    def look(self, number: int) -> Look:
        """Read a merge request with its checks, reviews and threads."""
        seen = self._ask(_ONE, "GET", f"/merge_requests/{number}")
        reviewers = self._ask(_MANY, "GET", f"/merge_requests/{number}/reviewers")
        pipeline = seen.get("head_pipeline")
        return Look(
            url=seen["web_url"],
            title=seen["title"],
            state=("draft, " if seen.get("draft") else "") + seen["state"],
            branch=seen["source_branch"],
            base=seen["target_branch"],
            head=seen["sha"],
            merge=str(seen.get("detailed_merge_status") or "unknown").replace("_", " "),
            decision=None,
            reviews=tuple((each["user"]["username"], each["state"].replace("_", " ")) for each in reviewers),
            checks=((f"pipeline {pipeline['id']}", pipeline["status"]),) if pipeline else (),
            threads=self._threads(number),
        )

    def comment(self, number: int, text: str) -> None:
        """Comment on the merge request as a whole."""
        self._ask(_ONE, "POST", f"/merge_requests/{number}/notes", {"body": text})

    def reply(self, number: int, thread_id: str, text: str) -> None:
        """Answer a thread."""
        self._ask(_ONE, "POST", f"{_discussion(number, thread_id)}/notes", {"body": text})

    def resolve(self, number: int, thread_id: str) -> None:
        """Resolve a thread."""
        self._ask(_ONE, "PUT", _discussion(number, thread_id), {"resolved": True})

    def open_thread(self, number: int, spot: Spot, text: str) -> None:
        """Open a thread: at a line or file of the newest version, or on the merge request as a whole."""
        asked: dict[str, object] = {"body": text}
        if spot.file is not None:
            refs = self._ask(_ONE, "GET", f"/merge_requests/{number}")["diff_refs"]
            at = {"new_path": spot.file, "old_path": spot.file, **{name: refs[name] for name in _REFS}}
            kind = {"position_type": "file"} if spot.line is None else {"position_type": "text", "new_line": spot.line}
            asked["position"] = {**at, **kind}
        self._ask(_ONE, "POST", f"/merge_requests/{number}/discussions", asked)

    def review(self, number: int, verdict: Verdict, text: str, *, head: str) -> None:
        """Approve a head, or request changes; GitLab keeps the words as a comment."""
        if text:
            self.comment(number, text)
        if verdict == "approve":
            self._ask(_ONE, "POST", f"/merge_requests/{number}/approve", {"sha": head})
            return
        asked = {"query": _REQUEST, "variables": {"project": self._place.project, "iid": str(number)}}
        answer = self._send(_ONE, "POST", self._api.removesuffix("/v4") + "/graphql", asked)
        said = [str(each.get("message")) for each in answer.get("errors") or ()]
        said += ((answer.get("data") or {}).get("mergeRequestRequestChanges") or {}).get("errors") or []
        if said:
            raise ForgeFailed(ForgeError("http", f"changes are not requested: {said[0]}", http_status=422))

    def _threads(self, number: int) -> tuple[Thread, ...]:
        found: list[dict[str, Any]] = []
        for page in range(1, _MOST_PAGES + 1):
            shown = self._ask(_MANY, "GET", f"/merge_requests/{number}/discussions?per_page={_PAGE}&page={page}")
            found += shown
            if len(shown) < _PAGE:
                break
        return tuple(_thread(each) for each in found if any(note.get("resolvable") for note in each["notes"]))

    def _ask(self, shape: TypeAdapter[_T], verb: str, path: str, body: object = None) -> _T:
        return self._send(shape, verb, self._project + path, body)

    def _send(self, shape: TypeAdapter[_T], verb: str, path: str, body: object) -> _T:
        with ForgeClient(self._place, self._token, self._limits, dialect=GITLAB) as client:
            answer = client.ask(shape, verb, path, body)
        if isinstance(answer, ForgeError):
            raise ForgeFailed(answer)
        return answer


_REFS: Final = ("base_sha", "start_sha", "head_sha")


def _pull(given: Mapping[str, Any]) -> Pull:
    return Pull(given["iid"], given["web_url"], given["target_branch"])


def _discussion(number: int, thread_id: str) -> str:
    return f"/merge_requests/{number}/discussions/{quote(thread_id, safe='')}"


def _thread(given: Mapping[str, Any]) -> Thread:
    notes = [note for note in given["notes"] if not note.get("system")]
    at: Mapping[str, Any] = next((note["position"] for note in notes if note.get("position")), {})
    remarks = tuple(Remark(note["author"]["username"], note["body"]) for note in notes)
    resolved = all(note.get("resolved") for note in notes if note.get("resolvable"))
    return Thread(given["id"], at.get("new_path"), at.get("new_line"), resolved, remarks)
