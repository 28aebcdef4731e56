"""GraphQL of the fake GitHub, executed on a slice of GitHub's own schema: a query that GitHub would refuse is refused here too.

`refuses` names the parts that the token may not read: `checks`, `contexts` (while the state of the rollup can be read),
`workflows`, `required` and `head_repository`. A part that is refused is null, and an error names its path.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from infra.devstack import fake_github_rules as rules
from infra.devstack.fake_github_words import USER, Words
from infra.devstack.fake_site import Home, Outcome, Pull, Run, Said, Site
from infra.devstack.github_api import contract

_CONCLUSION: Final[dict[Outcome, tuple[str, str | None]]] = {
    "success": ("COMPLETED", "SUCCESS"),
    "failure": ("COMPLETED", "FAILURE"),
    "cancelled": ("COMPLETED", "CANCELLED"),
    "skipped": ("COMPLETED", "SKIPPED"),
    "pending": ("IN_PROGRESS", None),
    "queued": ("QUEUED", None),
}


class GitHubGraphQL:
    """Queries and mutations about a site."""

    def __init__(self, site: Site, url_of: Callable[[Pull], str], hidden: set[str], refuses: set[str]) -> None:
        self._site = site
        self._url_of = url_of
        self._hidden = hidden
        self._refuses = refuses
        self.bypass = False

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of the answer to a query or mutation."""
        from graphql import graphql_sync

        root = {
            "repository": self._repository,
            "resolveReviewThread": self._resolve,
            "enqueuePullRequest": self._enqueue,
            "dequeuePullRequest": self._dequeue,
            "disablePullRequestAutoMerge": self._disable,
            **Words(self._site, self._by_id, _problem).mutations(),
        }
        done = graphql_sync(_schema(), body["query"], root, variable_values=body.get("variables"))
        answer: dict[str, Any] = {"data": done.data}
        if done.errors:
            answer["errors"] = [
                {"message": error.message, "path": list(error.path or ()), **(error.extensions or {})}
                for error in done.errors
            ]
        return answer

    # repositories

    def _repository(self, _info: Any, *, owner: str, name: str, followRenames: bool = True) -> Any:  # noqa: N803 - GitHub's
        project = f"{owner}/{name}"
        home = self._site.at(project) or (self._site.led_to(project) if followRenames else None)
        if home is None or home.name in self._hidden:
            raise _problem("NOT_FOUND", f"Could not resolve to a Repository with the name '{project}'.")
        ways = self._site.ways_to_merge
        return {
            **_named(home),
            "name": home.name.partition("/")[2],
            "mergeCommitAllowed": "merge" in ways,
            "squashMergeAllowed": "squash" in ways,
            "rebaseMergeAllowed": "rebase" in ways,
            "object": lambda _info, expression="", oid="": self._object(home, expression or oid),
            "pullRequest": lambda _info, number: self._pull(home, number),
            "pullRequests": lambda _info, **given: self._pulls(home, **given),
        }

    def _object(self, home: Home, expression: str) -> Any:
        found = self._site.commits.named(home.id, expression)
        return None if found is None else {"__typename": found.kind.title(), "oid": found.id}

    # pull requests

    def _pulls(self, home: Home, *, headRefName: str = "", states: Any = (), **page: Any) -> Any:  # noqa: N803 - GitHub's
        pulls = [
            self._pull(home, pull.number)
            for pull in self._site.pulls
            if pull.home == home.id and headRefName in ("", pull.head) and (not states or pull.state.upper() in states)
        ]
        return paged(pulls, **{key: value for key, value in page.items() if key in ("first", "last", "after")})

    def _pull(self, home: Home, number: int) -> Any:
        pull = self._site.find(home.name, number, reads=True)
        if pull is None:
            raise _problem("NOT_FOUND", f"Could not resolve to a PullRequest with the number of {number}.")
        known = self._site.looked_at(pull)
        return {
            **self._about(home, pull),
            **self._waiting(home, pull),
            "mergeable": ("CONFLICTING" if pull.conflicts else "MERGEABLE") if known else "UNKNOWN",
            "mergeStateStatus": rules.merge_state(self._site, pull) if known else "UNKNOWN",
            "reviewDecision": pull.decision,
            "comments": lambda _info, **page: paged([_comment(each) for each in pull.notes], **page),
            "latestOpinionatedReviews": lambda _info, **page: paged(_opinions(pull), **page),
            "reviewThreads": lambda _info, **page: paged(_threads(pull), **page),
            "commits": lambda _info, **page: paged([{"commit": self._commit(home, pull)}], **page),
            "viewerCanMergeAsAdmin": self.bypass,
        }

    def _about(self, home: Home, pull: Pull) -> dict[str, Any]:
        head = self._site.by_id(pull.head_home)
        refused_head = self._refused("head_repository")
        return {
            "id": _id_of(pull),
            "number": pull.number,
            "title": pull.title,
            "files": lambda _info, **page: paged([{"path": each} for each in self._files(pull)], **page),
            "url": self._url_of(pull),
            "state": pull.state.upper(),
            "author": None if pull.author is None else {"__typename": "User", "login": pull.author},
            "isDraft": pull.draft,
            "merged": pull.state == "merged",
            "mergeCommit": None if pull.merge_sha is None or pull.state != "merged" else {"oid": pull.merge_sha},
            "headRefOid": pull.sha,
            "headRefName": pull.head,
            "headRepository": refused_head or (None if head is None else _named(head)),
            "baseRefName": pull.base,
            "baseRepository": _named(home),
            "baseRef": self._refused("required") or _base_ref(home, pull),
        }

    def _files(self, pull: Pull) -> list[str]:
        """The files that it changes, as far as the site knows its history; else the one that threads are about by default."""
        commits = self._site.commits
        head, base = commits.named(pull.home, pull.sha), commits.tip(pull.home, pull.base)
        if head is None or base is None:
            return ["README.md"]
        start = commits.base_of(base, pull.sha)
        return ["README.md"] if start is None else commits.changed(start, pull.sha) or ["README.md"]

    def _waiting(self, home: Home, pull: Pull) -> dict[str, Any]:
        place = home.line.index(pull.number) + 1 if pull.number in home.line else None
        return {
            "isMergeQueueEnabled": home.has_queue,
            "isInMergeQueue": pull.in_queue,
            "mergeQueueEntry": None if place is None else {"position": place, "state": "QUEUED"},
            "autoMergeRequest": {"enabledAt": time_text(self._site.now())} if pull.auto_merge else None,
        }

    def _commit(self, home: Home, pull: Pull) -> Any:
        parents = [{"oid": each} for each in self._site.commits.parents(pull.sha)]
        hides = home.hides_checks or "checks" in self._refuses
        rollup = _forbidden if hides else lambda _info: self._rollup(home, pull)
        return {"oid": pull.sha, "parents": lambda _info, **page: paged(parents, **page), "statusCheckRollup": rollup}

    def _rollup(self, home: Home, pull: Pull) -> Any:
        contexts = [_legacy(home, name, outcome, self._site) for name, outcome in sorted(pull.statuses.items())]
        runs = [
            Run(number, name, outcome, pull.sha, "github-actions", started_at=self._site.now())
            for number, (name, outcome) in enumerate(sorted(pull.checks.items()), 1)
        ]
        runs += [run for run in pull.runs if run.sha == pull.sha]
        contexts = [self._run(home, run) for run in runs] + contexts
        if not contexts:
            return None
        outcomes = {*pull.checks.values(), *pull.statuses.values(), *(run.outcome for run in runs)}
        bad, waits = outcomes & {"failure", "cancelled"}, outcomes & {"pending", "queued"}
        listed = self._refused("contexts") or (lambda _info, **page: paged(contexts, **page))
        return {"state": "FAILURE" if bad else "PENDING" if waits else "SUCCESS", "contexts": listed}

    def _run(self, home: Home, run: Run) -> Any:
        status, conclusion = _CONCLUSION[run.outcome]
        workflow = {"event": run.event, "runNumber": run.id, "workflow": {"name": run.workflow}}
        return {
            "__typename": "CheckRun",
            "databaseId": run.id,
            "name": run.name,
            "status": status,
            "conclusion": conclusion,
            "startedAt": time_text(run.started_at),
            "completedAt": time_text(run.completed_at),
            "isRequired": run.name in home.required,
            "checkSuite": {
                "databaseId": run.suite,
                "app": {"databaseId": sum(run.app.encode()), "slug": run.app},
                "workflowRun": self._refused("workflows") or (workflow if run.workflow else None),
            },
        }

    def _refused(self, part: str) -> Any:
        """A resolver that refuses, if that part is refused."""
        return _forbidden if part in self._refuses else None

    # mutations

    def _by_id(self, given: str) -> Pull:
        for pull in self._site.pulls:
            if _id_of(pull) == given:
                return pull
        raise _problem("NOT_FOUND", f"Could not resolve to a node with the global id of '{given}'.")

    def _enqueue(self, _info: Any, **given: Any) -> Any:
        about = given["input"]
        with self._site.lock:
            pull = self._by_id(about["pullRequestId"])
            home = self._site.by_id(pull.home)
            if home is None or not home.has_queue:
                raise _problem("UNPROCESSABLE", "Merge queue is not enabled for the base branch")
            if pull.in_queue:
                raise _problem("UNPROCESSABLE", rules.ALREADY_QUEUED)
            if about.get("expectedHeadOid") not in (None, pull.sha):
                raise _problem("UNPROCESSABLE", "Head branch was modified. Review and try again.")
            if home.may_not_merge:
                raise _problem("UNPROCESSABLE", "You're not authorized to push to this branch.")
            why = _not_ready(self._site, pull)
            if why is not None:
                raise _problem("UNPROCESSABLE", why)
            return {"mergeQueueEntry": {"position": self._site.enqueues(pull), "state": "QUEUED"}}

    def _dequeue(self, _info: Any, **given: Any) -> Any:
        with self._site.lock:
            pull = self._by_id(given["input"]["id"])
            if not pull.in_queue:
                raise _problem("UNPROCESSABLE", "Pull request is not in the merge queue")
            is_automatic = pull.auto_merge
            self._site.leaves(pull)
            pull.auto_merge = is_automatic
            return {"mergeQueueEntry": None}

    def _disable(self, _info: Any, **given: Any) -> Any:
        pull = self._by_id(given["input"]["pullRequestId"])
        if not pull.auto_merge:
            raise _problem("UNPROCESSABLE", "Can't disable auto-merge for this pull request")
        pull.auto_merge = False
        return {"pullRequest": None}

    def _resolve(self, _info: Any, **given: Any) -> Any:
        thread_id = given["input"]["threadId"]
        if not self._site.resolves_thread(thread_id):
            raise _problem("NOT_FOUND", f"Could not resolve to a node with the global id of '{thread_id}'.")
        return {"thread": {"id": thread_id, "isResolved": True, "isOutdated": False}}


def time_text(at: Any) -> str | None:
    """A time as GitHub writes it, in whole seconds."""
    return None if at is None else str(at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def paged(
    items: Sequence[Any], *, first: int | None = None, last: int | None = None, after: str | None = None, **_: Any
) -> Any:
    """A page of a connection."""
    start = int(after) if after else 0
    shown = list(items[start : start + first]) if first is not None else list(items[-(last or 100) :])
    end = start + len(shown)
    page = {"hasNextPage": first is not None and end < len(items), "hasPreviousPage": start > 0}
    cursors = {"endCursor": str(end) if shown else None, "startCursor": str(start) if shown else None}
    return {"nodes": shown, "totalCount": len(items), "pageInfo": {**page, **cursors}}


@cache
def _schema() -> Any:
    from graphql import build_schema

    return build_schema((contract.HERE / "schema.graphql").read_text(encoding="utf-8"))


def _named(home: Home) -> dict[str, Any]:
    return {"databaseId": home.id, "nameWithOwner": home.name}


def _id_of(pull: Pull) -> str:
    return f"PR_{pull.home}_{pull.number}"


def _threads(pull: Pull) -> list[Any]:
    return [_thread(key, done, pull.said.get(key, [])) for key, done in pull.threads.items()]


def _thread(thread_id: str, is_resolved: bool, said: Sequence[Said]) -> dict[str, Any]:
    comments = [{"author": {"__typename": "User", "login": each.author}, "body": each.text} for each in said]
    return {
        "id": thread_id,
        "isResolved": is_resolved,
        "isOutdated": False,
        "path": next((each.file for each in said if each.file), "README.md"),
        "line": next((each.line for each in said), None),
        "comments": lambda _info, **page: paged(comments, **page),
    }


def _opinions(pull: Pull) -> list[Any]:
    return [
        {
            "id": f"PRR_{each.id}",
            "state": each.opinion,
            "body": each.words,
            "author": {"__typename": "User", "login": each.author},
            "commit": {"oid": each.sha},
            "viewerDidAuthor": each.author == USER,
        }
        for each in pull.opinions.values()
    ]


def _comment(said: Said) -> Any:
    return {"body": said.text, "author": {"__typename": "User", "login": said.author}}


def _base_ref(home: Home, pull: Pull) -> Any:
    checks = [{"context": name, "integrationId": None} for name in home.required]
    parameters = {
        "__typename": "RequiredStatusChecksParameters",
        "doNotEnforceOnCreate": False,
        "strictRequiredStatusChecksPolicy": home.is_strict,
        "requiredStatusChecks": checks,
    }
    found = [{"type": "REQUIRED_STATUS_CHECKS", "parameters": parameters}] if checks else []
    return {"name": pull.base, "refUpdateRule": None, "rules": lambda _info, **page: paged(found, **page)}


def _legacy(home: Home, name: str, outcome: Outcome, site: Site) -> dict[str, Any]:
    state = {"cancelled": "ERROR", "queued": "PENDING", "skipped": "SUCCESS"}.get(outcome, outcome.upper())
    return {
        "__typename": "StatusContext",
        "context": name,
        "state": state,
        "createdAt": time_text(site.now()),
        "isRequired": name in home.required,
    }


def _not_ready(site: Site, pull: Pull) -> str | None:
    if pull.draft or pull.state != "open":
        return "Pull request is a draft" if pull.draft else "Pull request is closed"
    if pull.conflicts:
        return "Pull request has conflicts"
    if pull.decision not in (None, "APPROVED"):
        return "At least 1 approving review is required by reviewers with write access."
    missing = rules.unmet(site, pull)
    return f'Required status check "{missing[0]}" is expected.' if missing else None


def _forbidden(_info: Any, **_: Any) -> Any:
    raise _problem("FORBIDDEN", "Resource not accessible by personal access token")


def _problem(kind: str, message: str) -> Exception:
    from graphql import GraphQLError

    return GraphQLError(message, extensions={"type": kind})
