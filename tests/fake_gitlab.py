"""A GitLab of this machine: merge requests, discussions, approvals and merges in the shapes that GitLab documents.

No OpenAPI description of GitLab's merge requests was available. The shapes are those of its REST API pages
(merge_requests, discussions, merge_request_approvals), and the adapter reads nothing else.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from infra.devstack.fake_forge import FakeForgeServer, Outcome, Pull, Reply, Request

_ROUTE: Final = re.compile(r"/api/v4/projects/([^/]+)/merge_requests/(\d+)(/merge|/discussions|/approvals)?")
_STATUS: Final[dict[Outcome, str]] = {"success": "success", "failure": "failed", "pending": "running"}


class FakeGitLab(FakeForgeServer):
    """The server. `host` is what the web addresses of its merge requests say."""

    host = "gitlab.com"

    @property
    def api_url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}/api/v4"

    def url_of(self, pull: Pull) -> str:
        """The web address of a merge request."""
        return f"https://{self.host}/{pull.project}/-/merge_requests/{pull.number}"

    def answer(self, request: Request) -> Reply:
        """What GitLab would answer."""
        if request.headers.get("private-token") not in self.tokens:
            return Reply(401, {"message": "401 Unauthorized"})
        found = _ROUTE.fullmatch(request.path)
        pull = None if found is None else self.site.find(unquote(found[1]), int(found[2]))
        if found is None or pull is None:
            return Reply(404, {"message": "404 Not found"})
        if request.method == "PUT" and found[3] == "/merge":
            return self._merge(pull, request.body or {})
        if request.method != "GET" or found[3] == "/merge":
            return Reply(405, {"message": "405 Method Not Allowed"})
        if found[3] == "/discussions":
            return _discussions(pull, request)
        if found[3] == "/approvals":
            waits = pull.decision in ("REVIEW_REQUIRED", "CHANGES_REQUESTED")
            return Reply(200, {"approved": not waits, "approvals_required": int(waits), "approvals_left": int(waits)})
        return Reply(200, self._shown(pull))

    def _shown(self, pull: Pull) -> Any:
        known = self.site.looked_at(pull)
        return {
            "id": 1000 + pull.number,
            "iid": pull.number,
            "title": pull.title,
            "web_url": self.url_of(pull),
            "state": "opened" if pull.state == "open" else pull.state,
            "source_branch": pull.head,
            "target_branch": pull.base,
            "sha": pull.sha,
            "draft": pull.draft,
            "merged_at": "2026-01-10T12:00:00.000Z" if pull.state == "merged" else None,
            "merge_commit_sha": pull.merge_sha,
            "squash_commit_sha": None,
            "has_conflicts": pull.conflicts and known,
            "blocking_discussions_resolved": all(pull.threads.values()),
            "detailed_merge_status": _detailed(pull) if known else "checking",
            "head_pipeline": _pipeline(pull),
        }

    def _merge(self, pull: Pull, body: Any) -> Reply:
        with self.site.lock:
            if body.get("sha") not in (None, pull.sha):
                return Reply(409, {"message": "SHA does not match HEAD of source branch: " + pull.sha})
            if pull.state != "open" or pull.draft or pull.conflicts or pull.decision not in (None, "APPROVED"):
                return Reply(405, {"message": "405 Method Not Allowed"})
            self.site.merge(pull)
        return Reply(200, self._shown(pull))


def _discussions(pull: Pull, request: Request) -> Reply:
    size, page = request.number("per_page", 20), request.number("page", 1)
    shown = list(pull.threads.items())[(page - 1) * size : page * size]
    more = page * size < len(pull.threads)
    talk = [{"id": "chat", "individual_note": True, "notes": [{"id": 1, "resolvable": False, "body": "Nice."}]}]
    threads = [
        {"id": name, "individual_note": False, "notes": [{"id": 2, "resolvable": True, "resolved": done}]}
        for name, done in shown
    ]
    return Reply(200, threads if page > 1 else talk + threads, {"x-next-page": str(page + 1) if more else ""})


def _pipeline(pull: Pull) -> Any:
    if not pull.outcomes:
        return None
    worst: Outcome = next((each for each in ("failure", "pending") if each in pull.outcomes), "success")
    return {"id": 1, "sha": pull.sha, "status": _STATUS[worst]}


def _detailed(pull: Pull) -> str:
    if pull.state != "open":
        return "not_open"
    if pull.draft:
        return "draft_status"
    if pull.conflicts:
        return "conflict"
    if pull.decision == "CHANGES_REQUESTED":
        return "requested_changes"
    if pull.decision == "REVIEW_REQUIRED":
        return "not_approved"
    return "need_rebase" if pull.behind else "mergeable"
