"""A fake GitHub on this machine: REST as GitHub's OpenAPI document describes it; GraphQL is `fake_github_graphql`.

Each answer starts as the smallest one that the OpenAPI document allows and is filled with the state of its pull request; tests
check every answer against the document (`github_api.contract`). A repository that was renamed is redirected to its id.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from infra.devstack import fake_github_rules as rules
from infra.devstack.fake_forge import FakeForgeServer, Reply, Request
from infra.devstack.fake_github_apps import Apps, Grant, allows, needed_for, not_accessible, refused_mutation
from infra.devstack.fake_github_graphql import GitHubGraphQL
from infra.devstack.fake_github_rules import no, not_found
from infra.devstack.fake_github_walls import Walls
from infra.devstack.fake_github_words import USER
from infra.devstack.fake_site import Home, Pull, Said
from infra.devstack.github_api import contract

_REPOSITORY: Final = re.compile(r"/(?:repos/([^/]+/[^/]+)|repositories/(\d+))(/.*)?")
_PULLS: Final = "/repos/{owner}/{repo}/pulls"
_PULL: Final = _PULLS + "/{pull_number}"
_COMPARE: Final = "/repos/{owner}/{repo}/compare/{basehead}"
_STATUS: Final = "/repos/{owner}/{repo}/commits/{ref}/status"
_ROUTES: Final = (
    ("POST", _PULLS, re.compile(r"/pulls")),
    ("GET", _PULL, re.compile(r"/pulls/(\d+)")),
    ("PATCH", _PULL, re.compile(r"/pulls/(\d+)")),
    ("PUT", _PULL + "/merge", re.compile(r"/pulls/(\d+)/merge")),
    ("PUT", _PULL + "/update-branch", re.compile(r"/pulls/(\d+)/update-branch")),
    ("POST", _PULL + "/requested_reviewers", re.compile(r"/pulls/(\d+)/requested_reviewers")),
    ("POST", _PULL + "/comments", re.compile(r"/pulls/(\d+)/comments")),
    ("GET", _COMPARE, re.compile(r"/compare/([^/]+)")),
    ("GET", _STATUS, re.compile(r"/commits/([^/]+)/status")),
)


class FakeGitHub(FakeForgeServer):
    """The server. `host` is the host in the web addresses of its pull requests.

    The token may not see the repositories of `hidden`, not read the parts of `refuses` (see `fake_github_graphql`), and with
    `bypass` merge against the rules of a base. `strangers` are people who may not review. `walls` keep the token out altogether.
    `apps` are the GitHub Apps; their installation tokens open what they were granted and nothing else.
    """

    host = "github.com"

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.hidden: set[str] = set()
        self.refuses: set[str] = set()
        self.strangers: set[str] = set()
        self.bypass = False
        self.walls = Walls(self.site)
        self.apps = Apps(self.site)

    @property
    def api_url(self) -> str:
        """The base URL of its API."""
        return f"http://127.0.0.1:{self.port}/api/v3"

    def url_of(self, pull: Pull) -> str:
        """The web address of a pull request."""
        return f"https://{self.host}/{pull.project}/pull/{pull.number}"

    def answer(self, request: Request) -> Reply:
        """GitHub's answer to a request."""
        of_an_app = self.apps.answer(request, request.path.removeprefix("/api/v3"))
        if of_an_app is not None:
            return of_an_app
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        grant = self.apps.grant(token)
        if scheme.lower() not in ("token", "bearer") or (token not in self.tokens and grant is None):
            return no(401, "Bad credentials")
        is_graphql = request.method == "POST" and request.path == "/api/graphql"
        wall = self.walls.refusal(is_graphql=is_graphql)
        if wall is not None:
            return wall
        hidden = self.hidden if grant is None else self.hidden | self.apps.closed_to(grant)
        return self._graphql(request, grant, hidden) if is_graphql else self._of_repository(request, grant, hidden)

    def _of_repository(self, request: Request, grant: Grant | None, hidden: set[str]) -> Reply:
        """The answer to a REST request about a repository."""
        found = _REPOSITORY.fullmatch(request.path.removeprefix("/api/v3"))
        if found is None:
            return not_found()
        moved = self.site.led_to(found[1]) if found[1] else None
        if moved is not None and moved.name not in hidden:
            return self._moved(moved, request, found[3] or "")
        home = self.site.at(found[1]) if found[1] else self.site.by_id(int(found[2]))
        if home is None or home.name in hidden:
            return not_found()
        need, level = needed_for(request.method, found[3] or "")
        if grant is not None and not allows(grant.permissions, need, level):
            return not_accessible(need, level)
        return self._routed(home, request, found[3] or "")

    def _graphql(self, request: Request, grant: Grant | None, hidden: set[str]) -> Reply:
        lacks = None if grant is None else refused_mutation(grant, str((request.body or {}).get("query", "")))
        if lacks is not None:
            return Reply(200, {"data": None, "errors": [{"type": "FORBIDDEN", "message": f"it needs {lacks}: write"}]})
        unread = {"checks"} if grant is not None and not allows(grant.permissions, "checks", "read") else set()
        graphql = GitHubGraphQL(self.site, self.url_of, hidden, self.refuses | unread)
        graphql.bypass = self.bypass
        return Reply(200, graphql.answer(request.body))

    def _moved(self, home: Home, request: Request, path: str) -> Reply:
        """Where a repository is now, by its id: 301 for reads, 307 for writes."""
        reads = request.method == "GET"
        location = f"{self.api_url}/repositories/{home.id}{path}"
        told = {"message": "Moved Permanently" if reads else "Temporary Redirect", "url": location}
        return Reply(301 if reads else 307, told, {"Location": location})

    def _routed(self, home: Home, request: Request, path: str) -> Reply:
        if not path and request.method == "GET":
            return Reply(200, {"id": home.id, "full_name": home.name})
        for verb, name, pattern in _ROUTES:
            found = pattern.fullmatch(path)
            if found and verb == request.method:
                reply = self._rest(home, verb, name, found, request.body or {})
                return Reply(reply.status, reply.body, reply.headers, operation=f"{verb} {name}")
        return not_found()

    def _rest(self, home: Home, verb: str, name: str, found: "re.Match[str]", body: Mapping[str, Any]) -> Reply:
        if name == _PULLS:
            return self._open(home, body)
        if name == _STATUS:
            return self._status(home, unquote(found[1]))
        if name == _COMPARE:
            return self._compare(home, unquote(found[1]))
        pull = self.site.find(home.name, int(found[1]))
        if pull is None:
            return not_found()
        if name == _PULL:
            if verb == "PATCH":
                pull.title, pull.base = body.get("title", pull.title), body.get("base", pull.base)
            return Reply(200, self._shown(home, pull, f"{verb} {_PULL}", 200))
        if name.endswith("/update-branch"):
            return self._update(home, pull, body)
        if name.endswith("/requested_reviewers"):
            return self._request(pull, body)
        return self._merge(pull, body) if name.endswith("/merge") else self._comment(pull, body)

    def _open(self, home: Home, body: Mapping[str, Any]) -> Reply:
        if any((each.home, each.head, each.state) == (home.id, body.get("head"), "open") for each in self.site.pulls):
            return no(422, f"A pull request already exists for {body.get('head')}.")
        try:
            pull = self.site.opens(home.name, head=body["head"], base=body["base"], title=body["title"])
            pull.draft = bool(body.get("draft", pull.draft))
        except (KeyError, LookupError):
            return no(422, "Validation Failed")
        return Reply(201, self._shown(home, pull, f"POST {_PULLS}", 201))

    def _shown(self, home: Home, pull: Pull, operation: str, status: int) -> Any:
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
            "mergeable_state": rules.merge_state(self.site, pull).lower() if known else "unknown",
        }
        body["head"] |= {"ref": pull.head, "sha": pull.sha}
        body["base"] |= {"ref": pull.base}
        ways = {"allow_merge_commit": "merge", "allow_squash_merge": "squash", "allow_rebase_merge": "rebase"}
        body["base"]["repo"] |= {name: way in self.site.ways_to_merge for name, way in ways.items()}
        body["base"]["repo"] |= {"id": home.id, "full_name": home.name}
        head = self.site.by_id(pull.head_home)
        if head is not None:
            body["head"]["repo"] |= {"id": head.id, "full_name": head.name}
        return body

    def _merge(self, pull: Pull, body: Mapping[str, Any]) -> Reply:
        with self.site.lock:
            refused = rules.refusal(self.site, pull, body, bypass=self.bypass)
            if refused is not None:
                return refused
            sha = self.site.merge(pull, body.get("merge_method", "merge"), by="token")
        return Reply(200, {"sha": sha, "merged": True, "message": "Pull Request successfully merged"})

    def _update(self, home: Home, pull: Pull, body: Mapping[str, Any]) -> Reply:
        """Merge the base into the head. A head that is up to date is refused too."""
        with self.site.lock:
            if home.may_not_merge:
                return no(403, "Resource not accessible by integration")
            if body.get("expected_head_sha") not in (None, pull.sha):
                return no(422, "expected head sha didn\u2019t match current head ref.")
            if pull.conflicts:
                return no(422, "merge conflict between base and head")
            if not self.site.is_behind(pull):
                return no(422, "There are no new commits on the base branch.")
            self.site.updates(pull, rebase=False)
        return Reply(202, {"message": "Updating pull request branch.", "url": self.url_of(pull)})

    def _request(self, pull: Pull, body: Mapping[str, Any]) -> Reply:
        asked = list(body.get("reviewers", ()))
        if pull.author in asked:
            return no(422, "Review cannot be requested from pull request author.")
        if self.strangers.intersection(asked):
            return no(422, "Reviews may only be requested from collaborators.")
        for name in asked:
            self.site.asks(pull, name)
        operation = f"POST {_PULL}/requested_reviewers"
        shown = contract.smallest(operation, 201)
        return Reply(201, shown | {"number": pull.number, "title": pull.title, "html_url": self.url_of(pull)})

    def _comment(self, pull: Pull, body: Mapping[str, Any]) -> Reply:
        thread_id = self.site.comments(pull, Said(body["body"], USER, body.get("path"), body.get("line")))
        shown = contract.smallest(f"POST {_PULL}/comments", 201)
        return Reply(201, shown | {"body": str(body.get("body", "")), "node_id": thread_id})

    def _compare(self, home: Home, given: str) -> Reply:
        commits = self.site.commits
        base, _, head = given.partition("...")
        ends = [commits.named(home.id, each) for each in (base, head)]
        one, other = (None if each is None or each.kind != "commit" else each.id for each in ends)
        if one is None or other is None:
            return not_found()
        start = commits.base_of(one, other)
        if start is None:
            return no(404, f"No common ancestor between {base} and {head}.")
        ahead, behind = len(commits.past(other) - commits.past(one)), len(commits.past(one) - commits.past(other))
        status = {(True, True): "diverged", (True, False): "ahead", (False, True): "behind"}
        shown = contract.smallest(f"GET {_COMPARE}", 200)
        shown["merge_base_commit"] |= {"sha": start}
        shown |= {"ahead_by": ahead, "behind_by": behind, "total_commits": ahead}
        shown |= {"status": status.get((ahead > 0, behind > 0), "identical"), "files": self._files(home, start, other)}
        return Reply(200, shown)

    def _files(self, home: Home, start: str, end: str) -> list[Any]:
        smallest = contract.smallest_of(contract.rest()["components"]["schemas"]["diff-entry"])
        shown = []
        for name in self.site.commits.changed(start, end)[:300]:
            before, after = (self.site.commits.named(home.id, f"{sha}:{name}") for sha in (start, end))
            status = "added" if before is None else "removed" if after is None else "modified"
            content = after or before
            shown.append(smallest | {"filename": name, "status": status, "sha": content.id if content else None})
        return shown

    def _status(self, home: Home, sha: str) -> Reply:
        pulls = [each for each in self.site.pulls if (each.home, each.sha) == (home.id, sha)]
        if not pulls:
            return not_found()
        one = contract.rest()["components"]["schemas"]["simple-commit-status"]
        statuses = [
            {**contract.smallest_of(one), "context": context, "state": outcome}
            for context, outcome in sorted(pulls[-1].statuses.items())
        ]
        shown = contract.smallest(f"GET {_STATUS}", 200)
        state = "failure" if "failure" in pulls[-1].statuses.values() else "success" if statuses else "pending"
        return Reply(200, {**shown, "sha": sha, "state": state, "total_count": len(statuses), "statuses": statuses})
