"""A fake GitLab on this machine: GraphQL executed on a slice of GitLab's schema, and REST in the shapes that GitLab documents.

`tier` is the edition: trains and requested changes that block a merge exist in `premium` only; in `free`, changes that a reviewer
requests are a state of that reviewer and nothing else. `gitlab_api` holds the schema and the shapes, with their sources.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import unquote

from infra.devstack.fake_forge import FakeForgeServer, Reply, Request
from infra.devstack.fake_gitlab_answers import (
    car,
    discussions,
    merge_request,
    note,
    pipeline_status,
    project_shown,
    user,
    word_of,
)
from infra.devstack.fake_gitlab_commits import commits_reply
from infra.devstack.fake_gitlab_words import Words
from infra.devstack.fake_site import Home, Opinion, Pull
from infra.devstack.gitlab_api import contract

_PROJECT: Final = re.compile(r"/api/v4/projects/([^/]+)(/.*)?")
_MERGE_REQUEST: Final = re.compile(r"/(merge_requests|merge_trains/merge_requests)/(\d+)(/[a-z_]+)?")
_STATE_OF: Final[Mapping[Opinion, str]] = {
    "APPROVED": "APPROVED",
    "CHANGES_REQUESTED": "REQUESTED_CHANGES",
    "COMMENTED": "REVIEWED",
    "DISMISSED": "UNREVIEWED",
}
_EPOCH: Final = datetime(2026, 1, 10, 12, tzinfo=UTC)


class FakeGitLab(FakeForgeServer):
    """The server. `host` is what the web addresses of its merge requests say.

    `squashes`: merges squash. `method` is the project's way to merge. `scope` of the token: `api`, or `read_api`, with which every
    write is refused. `rebase_reads`: so many reads find a rebase in progress. `enforces_trains`: a plain merge is refused where
    the project has a train; otherwise it goes around the train, as GitLab's does. `hides_discussions`: the token may not read
    threads. `changed_lines`: a thread at another line is refused.
    """

    host = "gitlab.com"
    tier: Literal["free", "premium"] = "premium"
    squashes = False
    method: Literal["merge", "rebase_merge", "ff"] = "merge"
    scope = "api"
    rebase_reads = 0
    enforces_trains = False
    hides_discussions = False
    changed_lines: tuple[int, ...] = (7,)

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.rebasing: dict[int, int] = {}

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
            is_graphql = request.path == "/api/graphql"
            return Reply(
                401, {"errors": [{"message": "Invalid token"}]} if is_graphql else {"message": "401 Unauthorized"}
            )
        with self.site.lock:
            if request.path == "/api/graphql":
                return self._graphql(request.body)
            if request.path == "/api/v4/user":
                return Reply(200, user("town"), operation="GET /user")
            found = _PROJECT.fullmatch(request.path)
            return _not_found() if found is None else self._of_project(request, unquote(found[1]), found[2] or "")

    def _of_project(self, request: Request, named: str, rest: str) -> Reply:
        home = self.site.by_id(int(named)) if named.isdigit() else self.site.at(named)
        if home is None:
            return self._moved(request, None if named.isdigit() else self.site.led_to(named), rest)
        if self.scope != "api" and request.method != "GET":
            return Reply(403, {"error": "insufficient_scope", "error_description": "no", "scope": "api"})
        if not rest:
            return Reply(200, project_shown(self, home), operation="GET /projects/:id")
        if rest.startswith("/repository/"):
            return commits_reply(self.site, home, rest.removeprefix("/repository"), request)
        said = Words(self, home).answer(request, rest)
        if said is not None:
            return said
        found = _MERGE_REQUEST.fullmatch(rest)
        pull = None if found is None else self.site.find(home.name, int(found[2]), reads=request.method == "GET")
        name = "" if found is None else f"{request.method} /projects/:id/{found[1]}/:iid{found[3] or ''}"
        if pull is None or name not in contract.described()["operations"]:
            return _not_found()
        reply = self._of_request(name, home, pull, request)
        return Reply(reply.status, reply.body, reply.headers, operation=name)

    def _moved(self, request: Request, home: Home | None, rest: str) -> Reply:
        if home is None:
            return Reply(404, {"message": "404 Project Not Found"})
        if request.method != "GET":
            return Reply(405, {"message": "405 Non GET methods are not allowed for moved projects"})
        return Reply(301, {"message": "moved"}, {"Location": f"{self.api_url}/projects/{home.id}{rest}"})

    def _of_request(self, name: str, home: Home, pull: Pull, request: Request) -> Reply:
        body, last = request.body or {}, name.rsplit("/", 1)[1]
        if name.startswith("POST /projects/:id/merge_trains"):
            return self._join_train(home, pull, body)
        if last == "merge":
            return self._merge(home, pull, body)
        if last == "rebase":
            return self._rebase(pull)
        if last == "cancel_merge_when_pipeline_succeeds":
            return self._cancel(pull)
        if last == "discussions" and self.hides_discussions:
            return Reply(403, {"message": "403 Forbidden"})
        shown = {
            "notes": self._notes,
            "discussions": discussions,
            "reviewers": self._all_reviewers,
        }.get(last, self._shown)
        return Reply(200, shown(pull))

    def _cancel(self, pull: Pull) -> Reply:
        if self.site.leaves(pull):
            return Reply(201, {"status": "success"})
        return Reply(406, {"message": "Can't cancel the automatic merge", "status": "error", "http_status": 406})

    def _shown(self, pull: Pull) -> Any:
        shown = merge_request(self, pull, word=self._word(pull).lower())
        left = self.rebasing.get(pull.number, 0)
        if left == 1 and pull.conflicts:
            shown["merge_error"] = "Rebase failed: Rebase locally, resolve all conflicts, then push the branch."
        elif left == 1:
            self.site.updates(pull, rebase=True)
            shown["sha"] = pull.sha
        self.rebasing[pull.number] = max(0, left - 1)
        return shown | {"rebase_in_progress": left > 1}

    def _word(self, pull: Pull) -> str:
        return word_of(self, self.site.home(pull.project), pull)

    def _merge(self, home: Home, pull: Pull, body: Mapping[str, Any]) -> Reply:
        if home.may_not_merge:
            return Reply(401, {"message": "401 Unauthorized"})
        if body.get("sha") not in (None, pull.sha):
            return Reply(409, {"message": f"SHA does not match HEAD of source branch: {pull.sha}"})
        if home.has_queue and self.enforces_trains:
            return Reply(405, {"message": "405 Merge trains are enforced: use auto_merge"})
        if self._word(pull) != "MERGEABLE":
            return Reply(405, {"message": "405 Method Not Allowed"})
        self.site.merge(pull, "squash" if self.squashes else "merge" if self.method != "ff" else "rebase", by="town")
        return Reply(200, self._shown(pull))

    def _join_train(self, home: Home, pull: Pull, body: Mapping[str, Any]) -> Reply:
        if self.tier == "free" or not home.has_queue:
            return Reply(403, {"message": "403 Forbidden"})
        if home.may_not_merge:
            return Reply(401, {"message": "401 Unauthorized"})
        if body.get("sha") not in (None, pull.sha):
            return Reply(409, {"message": f"SHA does not match HEAD of source branch: {pull.sha}"})
        if pull.state != "open" or pull.in_queue or self._word(pull) not in ("MERGEABLE", "CI_STILL_RUNNING"):
            return Reply(400, {"message": "400 Bad request - The merge request is not mergeable"})
        self.site.enqueues(pull)
        return Reply(
            201,
            [
                car(self, home, each)
                for number in home.line
                for each in self.site.pulls
                if (each.home, each.number) == (home.id, number)
            ],
        )

    def _rebase(self, pull: Pull) -> Reply:
        if pull.head_home is None:
            return Reply(403, {"message": "403 Forbidden - Source branch does not exist"})
        self.rebasing[pull.number] = self.rebase_reads + 1
        return Reply(202, {"rebase_in_progress": True})

    def _notes(self, pull: Pull) -> Any:
        said = {"CHANGES_REQUESTED": "requested changes", "APPROVED": "approved this merge request"}
        return [note(pull, each) for each in reversed(pull.notes)] + [
            {
                "id": review.id,
                "body": said[review.opinion],
                "author": user(review.author),
                "created_at": _EPOCH.isoformat(),
                "system": True,
                "noteable_type": "MergeRequest",
                "noteable_iid": pull.number,
                "resolvable": False,
            }
            for review in reversed(pull.reviews)
            if review.opinion in said
        ]

    def _all_reviewers(self, pull: Pull) -> Any:
        states = {name: self.review_state(pull, name).lower() for name in pull.reviewers}
        return [
            {"user": user(name), "state": state, "created_at": _EPOCH.isoformat()} for name, state in states.items()
        ]

    def review_state(self, pull: Pull, name: str) -> str:
        """The state of a reviewer; asking again makes it unreviewed."""
        if name in pull.asked:
            return "UNREVIEWED"
        said = [review.opinion for review in pull.reviews if review.author == name]
        return _STATE_OF[said[-1]] if said else "UNREVIEWED"

    # GraphQL

    def _graphql(self, body: Mapping[str, Any]) -> Reply:
        from graphql import graphql_sync

        root = {
            "project": self._project,
            "mergeRequestReviewerRereview": self._rereview,
            "mergeRequestSetReviewers": self._set_reviewers,
        }
        done = graphql_sync(contract.graphql_schema(), body["query"], root, variable_values=body.get("variables"))
        answer: dict[str, Any] = {"data": done.data}
        if done.errors:
            answer["errors"] = [
                {"message": error.message, "path": None if error.path is None else list(error.path)}
                for error in done.errors
            ]
        return Reply(200, answer)

    def _project(self, _info: Any, fullPath: str) -> Any:  # noqa: N803 - GitLab's
        home = self.site.at(fullPath)
        return None if home is None else self._project_of(home)

    def _project_of(self, home: Home) -> Any:
        def of_request(_info: Any, iid: str) -> Any:
            pull = self.site.find(home.name, int(iid), reads=True) if iid.isdigit() else None
            return None if pull is None else self._request_of(home, pull)

        return {
            "id": f"gid://gitlab/Project/{home.id}",
            "fullPath": home.name,
            "archived": home.archived,
            "onlyAllowMergeIfPipelineSucceeds": bool(home.required),
            "userPermissions": {
                "readCommitStatus": not home.hides_checks,
                "readMergeRequest": True,
                "pushCode": True,
            },
            "mergeRequest": of_request,
        }

    def _request_of(self, home: Home, pull: Pull) -> Any:
        source = self.site.by_id(pull.head_home)
        is_merged = pull.state == "merged"
        word = self._word(pull) if self.site.looked_at(pull) else "CHECKING"
        status = pipeline_status(pull)
        pipeline = {"id": "gid://gitlab/Ci::Pipeline/1", "iid": "1", "sha": pull.sha, "status": status}
        hidden = status is None or home.hides_checks
        behind = self.site.is_behind(pull)
        strategies = []
        if home.has_queue and self.tier == "premium":
            strategies = ["merge_train" if word == "MERGEABLE" else "add_to_merge_train_when_checks_pass"]
        elif status == "RUNNING":
            strategies = ["merge_when_checks_pass"]
        changes = timedelta(seconds=len(pull.reviews) + len(pull.threads) + len(pull.asked) + len(pull.runs))
        return {
            "id": f"gid://gitlab/MergeRequest/{1000 + pull.number}",
            "iid": str(pull.number),
            "state": "opened" if pull.state == "open" else pull.state,
            "draft": pull.draft,
            "author": None
            if pull.author is None
            else {"id": f"gid://gitlab/User/{pull.author}", "username": pull.author},
            "diffHeadSha": pull.sha,
            "sourceBranch": pull.head,
            "sourceProjectId": None if source is None else source.id,
            "sourceProject": None if source is None else {"id": source.id, "fullPath": source.name},
            "targetBranch": pull.base,
            "targetProjectId": home.id,
            "updatedAt": (_EPOCH + changes).isoformat(),
            "mergedAt": _EPOCH.isoformat() if is_merged else None,
            "mergeCommitSha": pull.merge_sha if pull.merged_how == "merge" else None,
            "mergeError": None,
            "detailedMergeStatus": word,
            "conflicts": pull.conflicts and word not in ("CHECKING", "UNCHECKED"),
            "shouldBeRebased": word == "NEED_REBASE",
            "rebaseInProgress": self.rebasing.get(pull.number, 0) > 1,
            "divergedFromTargetBranch": behind,
            "autoMergeEnabled": pull.in_queue or pull.auto_merge,
            "autoMergeStrategy": "merge_train"
            if pull.in_queue
            else "merge_when_checks_pass"
            if pull.auto_merge
            else None,
            "availableAutoMergeStrategies": strategies,
            "hasCi": bool(pull.outcomes or pull.runs),
            "headPipeline": None if hidden else pipeline,
            "resolvableDiscussionsCount": len(pull.threads),
            "resolvedDiscussionsCount": sum(pull.threads.values()),
            "reviewers": lambda _info, **page: self._reviewers(pull, **page),
        }

    def _reviewers(self, pull: Pull, *, first: int = 100, **_: Any) -> Any:
        nodes = [
            {
                "id": f"gid://gitlab/User/{user(name)['id']}",
                "username": name,
                "mergeRequestInteraction": {"reviewState": self.review_state(pull, name)},
            }
            for name in pull.reviewers
        ]
        page = {"hasNextPage": len(nodes) > first, "hasPreviousPage": False}
        return {"nodes": nodes[:first], "pageInfo": page}

    def _rereview(self, _info: Any, **given: Any) -> Any:
        asked = given["input"]
        pull = self.site.find(asked["projectPath"], int(asked["iid"]))
        for name in () if pull is None else pull.reviewers:
            if pull is not None and asked["userId"] == f"gid://gitlab/User/{user(name)['id']}":
                self.site.asks(pull, name)
                return {"errors": []}
        return {"errors": ["Reviewer not found"]}

    def _set_reviewers(self, _info: Any, **given: Any) -> Any:
        asked = given["input"]
        pull = self.site.find(asked["projectPath"], int(asked["iid"]))
        if pull is None:
            raise LookupError("The resource that you are attempting to access does not exist")
        if asked["operationMode"] == "REPLACE":
            pull.reviewers.clear()
        for name in asked["reviewerUsernames"]:
            if self.tier == "premium" or not pull.reviewers:
                self.site.asks(pull, name)
        return {"errors": []}


def _not_found() -> Reply:
    return Reply(404, {"message": "404 Not found"})
