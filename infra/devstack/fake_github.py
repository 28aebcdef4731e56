"""A fake GitHub on this machine: REST as GitHub's OpenAPI document describes it, GraphQL executed on GitHub's own schema.

Each answer starts as the smallest one that the OpenAPI document allows and is filled with the state of its pull request; tests
check every answer against the document (`github_api.contract`). The GraphQL schema is a slice of the real one, so a query that
GitHub would refuse is refused here too.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from infra.devstack.fake_forge import FakeForgeServer, Outcome, Pull, Reply, Request
from infra.devstack.github_api import contract

_PULLS: Final = "/repos/{owner}/{repo}/pulls"
_PULL: Final = _PULLS + "/{pull_number}"
_ROUTES: Final = (
    ("POST", _PULLS, re.compile(r"/repos/([^/]+/[^/]+)/pulls")),
    ("GET", _PULL, re.compile(r"/repos/([^/]+/[^/]+)/pulls/(\d+)")),
    ("PUT", _PULL + "/merge", re.compile(r"/repos/([^/]+/[^/]+)/pulls/(\d+)/merge")),
    ("POST", _PULL + "/comments", re.compile(r"/repos/([^/]+/[^/]+)/pulls/(\d+)/comments")),
    ("GET", "/repos/{owner}/{repo}/commits/{ref}/status", re.compile(r"/repos/([^/]+/[^/]+)/commits/([^/]+)/status")),
)
_CONCLUSION: Final[dict[Outcome, tuple[str, str | None]]] = {
    "success": ("COMPLETED", "SUCCESS"),
    "failure": ("COMPLETED", "FAILURE"),
    "pending": ("IN_PROGRESS", None),
}


class FakeGitHub(FakeForgeServer):
    """The server. `host` is the host in the web addresses of its pull requests."""

    host = "github.com"

    @property
    def api_url(self) -> str:
        """The base URL of its API."""
        return f"http://127.0.0.1:{self.port}/api/v3"

    def url_of(self, pull: Pull) -> str:
        """The web address of a pull request."""
        return f"https://{self.host}/{pull.project}/pull/{pull.number}"

    def answer(self, request: Request) -> Reply:
        """GitHub's answer to a request."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("token", "bearer") or token not in self.tokens:
            return Reply(401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"})
        if request.method == "POST" and request.path == "/api/graphql":
            return self._graphql(request.body)
        path = request.path.removeprefix("/api/v3")
        for verb, name, pattern in _ROUTES:
            found = pattern.fullmatch(path)
            if found and verb == request.method:
                reply = self._rest(name, found, request.body or {})
                return Reply(reply.status, reply.body, reply.headers, operation=f"{verb} {name}")
        return _not_found()

    def _rest(self, name: str, found: "re.Match[str]", body: Mapping[str, Any]) -> Reply:
        if name == _PULLS:
            return self._open(found[1], body)
        if name.endswith("/status"):
            return self._status(found[1], found[2])
        pull = self.site.find(found[1], int(found[2]))
        if pull is None:
            return _not_found()
        if name == _PULL:
            return Reply(200, self._shown(pull, f"GET {_PULL}", 200))
        return self._merge(pull, body) if name.endswith("/merge") else self._comment(pull, body)

    def _open(self, project: str, body: Mapping[str, Any]) -> Reply:
        if any(
            (each.project, each.head, each.state) == (project, body.get("head"), "open") for each in self.site.pulls
        ):
            return _no(422, f"A pull request already exists for {body.get('head')}.")
        try:
            pull = self.site.opens(project, head=body["head"], base=body["base"], title=body["title"])
        except (KeyError, LookupError):
            return Reply(422, {"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest"})
        return Reply(201, self._shown(pull, f"POST {_PULLS}", 201))

    def _shown(self, pull: Pull, operation: str, status: int) -> Any:
        known = self.site.looked_at(pull)
        body = contract.smallest(operation, status)
        is_merged = pull.state == "merged"
        body |= {
            "number": pull.number,
            "title": pull.title,
            "html_url": self.url_of(pull),
            "state": "open" if pull.state == "open" else "closed",
            "merged": is_merged,
            "merged_at": "2026-01-10T12:00:00Z" if is_merged else None,
            "merge_commit_sha": pull.merge_sha,
            "draft": pull.draft,
            "mergeable": not pull.conflicts if known else None,
            "mergeable_state": _mergeable_state(pull) if known else "unknown",
        }
        body["head"] |= {"ref": pull.head, "sha": pull.sha}
        body["base"] |= {"ref": pull.base}
        ways = {"allow_merge_commit": "merge", "allow_squash_merge": "squash", "allow_rebase_merge": "rebase"}
        body["base"]["repo"] |= {name: way in self.site.ways_to_merge for name, way in ways.items()}
        return body

    def _merge(self, pull: Pull, body: Mapping[str, Any]) -> Reply:
        with self.site.lock:
            if body.get("sha") not in (None, pull.sha):
                return _no(409, "Head branch was modified. Review and try the merge again.")
            if body.get("merge_method", "merge") not in self.site.ways_to_merge:
                return _no(405, "Merge commits are not allowed on this repository.")
            if pull.state != "open" or pull.draft or pull.conflicts or pull.decision not in (None, "APPROVED"):
                return _no(405, "Pull Request is not mergeable")
            sha = self.site.merge(pull)
        return Reply(200, {"sha": sha, "merged": True, "message": "Pull Request successfully merged"})

    def _comment(self, pull: Pull, body: Mapping[str, Any]) -> Reply:
        thread_id = self.site.comments(pull)
        shown = contract.smallest(f"POST {_PULL}/comments", 201)
        return Reply(201, shown | {"body": str(body.get("body", "")), "node_id": thread_id})

    def _status(self, project: str, sha: str) -> Reply:
        operation = "GET /repos/{owner}/{repo}/commits/{ref}/status"
        pulls = [each for each in self.site.pulls if (each.project.lower(), each.sha) == (project.lower(), sha)]
        if not pulls:
            return _not_found()
        one = contract.rest()["components"]["schemas"]["simple-commit-status"]
        statuses = [
            {**contract.smallest_of(one), "context": context, "state": outcome}
            for context, outcome in sorted(pulls[-1].statuses.items())
        ]
        shown = contract.smallest(operation, 200)
        state = "failure" if "failure" in pulls[-1].statuses.values() else "success" if statuses else "pending"
        return Reply(200, {**shown, "sha": sha, "state": state, "total_count": len(statuses), "statuses": statuses})

    # GraphQL

    def _graphql(self, body: Mapping[str, Any]) -> Reply:
        from graphql import graphql_sync

        root = {"repository": self._repository, "resolveReviewThread": self._resolve}
        done = graphql_sync(_schema(), body["query"], root, variable_values=body.get("variables"))
        answer: dict[str, Any] = {"data": done.data}
        if done.errors:
            answer["errors"] = [
                {"message": error.message, "path": list(error.path or ()), **(error.extensions or {})}
                for error in done.errors
            ]
        return Reply(200, answer)

    def _repository(self, _info: Any, *, owner: str, name: str, **_: Any) -> Any:
        project = f"{owner}/{name}"
        if project.lower() not in self.site.projects:
            raise _not_resolved(f"Could not resolve to a Repository with the name '{project}'.")
        return {
            "name": name,
            "pullRequest": lambda _info, number: self._graphql_pull(project, number),
            "pullRequests": lambda _info, **given: self._graphql_pulls(project, **given),
        }

    def _graphql_pulls(self, project: str, *, headRefName: str = "", states: Any = (), **page: Any) -> Any:  # noqa: N803 - GitHub's
        pulls = [
            self._graphql_pull(project, pull.number)
            for pull in self.site.pulls
            if pull.project.lower() == project.lower()
            and headRefName in ("", pull.head)
            and (not states or pull.state.upper() in states)
        ]
        return _page(pulls, **{key: value for key, value in page.items() if key in ("first", "last", "after")})

    def _graphql_pull(self, project: str, number: int) -> Any:
        pull = self.site.find(project, number)
        if pull is None:
            raise _not_resolved(f"Could not resolve to a PullRequest with the number of {number}.")
        threads = [{"id": key, "isResolved": done, "isOutdated": False} for key, done in pull.threads.items()]
        commit = {"commit": {"oid": pull.sha, "statusCheckRollup": _rollup(pull)}}
        return {
            "number": number,
            "url": self.url_of(pull),
            "state": pull.state.upper(),
            "isDraft": pull.draft,
            "merged": pull.state == "merged",
            "mergeable": "CONFLICTING" if pull.conflicts else "MERGEABLE",
            "mergeStateStatus": _mergeable_state(pull).upper(),
            "reviewDecision": pull.decision,
            "headRefOid": pull.sha,
            "headRefName": pull.head,
            "baseRefName": pull.base,
            "reviewThreads": lambda _info, **page: _page(threads, **page),
            "commits": lambda _info, **page: _page([commit], **page),
        }

    def _resolve(self, _info: Any, **given: Any) -> Any:
        thread_id = given["input"]["threadId"]
        if not self.site.resolves_thread(thread_id):
            raise _not_resolved(f"Could not resolve to a node with the global id of '{thread_id}'.")
        return {"thread": {"id": thread_id, "isResolved": True, "isOutdated": False}}


@cache
def _schema() -> Any:
    from graphql import build_schema

    return build_schema((contract.HERE / "schema.graphql").read_text(encoding="utf-8"))


def _rollup(pull: Pull) -> Any:
    if not pull.checks:
        return None  # as if the head had only legacy statuses and the token were not allowed to read checks
    contexts: list[dict[str, Any]] = []
    for name, outcome in sorted(pull.checks.items()):
        status, conclusion = _CONCLUSION[outcome]
        contexts.append({"__typename": "CheckRun", "name": name, "status": status, "conclusion": conclusion})
    for name, outcome in sorted(pull.statuses.items()):
        contexts.append({"__typename": "StatusContext", "context": name, "state": outcome.upper()})
    state = "FAILURE" if "failure" in pull.outcomes else "PENDING" if "pending" in pull.outcomes else "SUCCESS"
    return {"state": state, "contexts": lambda _info, **page: _page(contexts, **page)}


def _page(
    items: Sequence[Any], *, first: int | None = None, last: int | None = None, after: str | None = None, **_: Any
) -> Any:
    start = int(after) if after else 0
    shown = list(items[start : start + first]) if first is not None else list(items[-(last or 100) :])
    end = start + len(shown)
    page = {"hasNextPage": first is not None and end < len(items), "hasPreviousPage": start > 0}
    cursors = {"endCursor": str(end) if shown else None, "startCursor": str(start) if shown else None}
    return {"nodes": shown, "totalCount": len(items), "pageInfo": {**page, **cursors}}


def _mergeable_state(pull: Pull) -> str:
    if pull.state != "open":
        return "unknown"
    if pull.conflicts:
        return "dirty"
    if pull.draft:
        return "draft"
    if pull.decision not in (None, "APPROVED"):
        return "blocked"
    if pull.behind:
        return "behind"
    return "clean" if all(outcome == "success" for outcome in pull.outcomes) else "unstable"


def _not_resolved(message: str) -> Exception:
    from graphql import GraphQLError

    return GraphQLError(message, extensions={"type": "NOT_FOUND"})


def _no(status: int, message: str) -> Reply:
    return Reply(status, {"message": message, "documentation_url": "https://docs.github.com/rest"})


def _not_found() -> Reply:
    return Reply(404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"})
