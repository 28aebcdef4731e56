"""Three forges that one suite tests: the fake in memory, and GitHub and GitLab as adapters with their fake servers.

A site is where people act on pull requests; `forge` is the port that the reconciler sees. What people do has the same
name at all three, so one suite can state what the port promises.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol

from infra.devstack.fake_forge import TOKEN, FakeForgeServer, Outcome, Pull, Site, Trouble
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.github_api import contract as github_api
from infra.devstack.gitlab_api import contract as gitlab_api
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost
from shared.adapters.forges import Forges
from shared.ports.forge import Comment, Feedback, ForgeError, SourceForge
from tests.fakes import FakeClock, FakeForge, FakeSecrets
from tests.towns import T

Change = Literal[
    "comments",
    "resolves",
    "fails_check",
    "passes_check",
    "starts_check",
    "fails_status",
    "conflicts",
    "merges_target",
    "wants_approval",
    "approves",
    "wants_changes",
    "drafts",
    "is_computed",
    "closes",
    "merges",
    "pushes",
    "falls_behind",
]


class ForgeSite(Protocol):
    """A forge with people."""

    @property
    def forge(self) -> SourceForge:
        """What the reconciler sees of it."""
        ...

    def opens(self) -> str:
        """Somebody opens a pull request; returns its address."""
        ...

    def does(self, pr_url: str, change: Change) -> None:
        """Somebody does something to it."""
        ...

    def head(self, pr_url: str) -> str:
        """Its newest commit."""
        ...

    def merges(self, pr_url: str) -> int:
        """How often it was merged."""
        ...

    def breaks(self, how: Literal["bad_gateway", "forbidden", "unauthorized", "limited"], *, times: int | None) -> None:
        """The next requests fail."""
        ...


SAID: Final = Comment("Please look at this.", author="ann", file="README.md", line=1, thread="thread-1-1")
"""The comment of every site."""


@dataclass
class InMemory:
    """The fake that most tests use."""

    forge: FakeForge = field(default_factory=FakeForge)

    def opens(self) -> str:
        url = f"https://github.com/acme/app/pull/{len(self.forge.pull_requests) + 1}"
        self.forge.opens(url)
        return url

    def does(self, pr_url: str, change: Change) -> None:
        seen = self.forge.pull_requests[pr_url]
        feedback = seen.feedback or Feedback()
        changed: dict[Change, Any] = {
            "comments": {"feedback": replace(feedback, has_unresolved_comments=True, comments=(SAID,))},
            "resolves": {"feedback": replace(feedback, has_unresolved_comments=False, comments=())},
            "fails_check": {"feedback": replace(feedback, has_failing_checks=True, all_checks_pass=False)},
            "fails_status": {"feedback": replace(feedback, has_failing_checks=True, all_checks_pass=False)},
            "starts_check": {"feedback": replace(feedback, has_failing_checks=False, all_checks_pass=False)},
            "passes_check": {"feedback": replace(feedback, has_failing_checks=False, all_checks_pass=True)},
            "wants_approval": {"feedback": replace(feedback, awaiting_approval=True), "mergeable_state": "blocked"},
            "approves": {
                "feedback": replace(feedback, awaiting_approval=False, changes_requested=False),
                "mergeable_state": "clean",
            },
            "wants_changes": {"feedback": replace(feedback, changes_requested=True), "mergeable_state": "blocked"},
            "drafts": {"feedback": replace(feedback, awaiting_approval=True), "mergeable_state": "draft"},
            "conflicts": {"mergeable_state": "dirty"},
            "merges_target": {"mergeable_state": "clean"},
            "falls_behind": {"mergeable_state": "behind"},
            "is_computed": {"mergeable_state": "unknown"},
            "pushes": {"head_sha": f"{seen.head_sha}+"},
            "closes": {"state": "closed", "feedback": None},
            "merges": {"state": "merged", "merge_sha": f"merge-of-{seen.head_sha}", "feedback": None},
        }
        self.forge.pull_requests[pr_url] = replace(seen, **changed[change])

    def head(self, pr_url: str) -> str:
        return str(self.forge.pull_requests[pr_url].head_sha)

    def merges(self, pr_url: str) -> int:
        return int(self.forge.pull_requests[pr_url].state == "merged")

    def breaks(self, how: str, *, times: int | None) -> None:
        answers = {
            "bad_gateway": ForgeError("transient", "bad gateway", http_status=502),
            "forbidden": ForgeError("http", "no", http_status=403),
            "unauthorized": ForgeError("http", "no", http_status=401),
            "limited": ForgeError("rate_limited", "slow down", http_status=429, retry_at=T),
        }
        self.forge.fails("pull_request", answers[how], times=times)


@dataclass
class Served:
    """An adapter and the server that it speaks to."""

    server: FakeGitHub | FakeGitLab
    clock: FakeClock
    secrets: FakeSecrets
    forge: Forges

    @property
    def site(self) -> Site:
        return self.server.site

    def opens(self) -> str:
        return self.server.url_of(self.site.opens("acme/app", head=f"work-{len(self.site.pulls)}"))

    def pull(self, pr_url: str) -> Pull:
        found = self.site.find("acme/app", int(pr_url.rsplit("/", 1)[1]))
        assert found is not None
        return found

    def does(self, pr_url: str, change: Change) -> None:
        pull = self.pull(pr_url)
        outcomes: dict[Change, Outcome] = {
            "fails_check": "failure",
            "passes_check": "success",
            "starts_check": "pending",
        }
        if change in outcomes:
            pull.checks["build"] = outcomes[change]
        elif change == "fails_status":
            pull.statuses["legacy"] = "failure"
        elif change in ("wants_approval", "approves", "wants_changes"):
            pull.decision = {"wants_approval": "REVIEW_REQUIRED", "approves": "APPROVED"}.get(
                change, "CHANGES_REQUESTED"
            )  # type: ignore[assignment]
        elif change == "merges":
            self.site.merge(pull)
        elif change in ("comments", "resolves", "pushes"):
            getattr(self.site, change)(pull)
        elif change == "closes":
            pull.state = "closed"
        elif change == "is_computed":
            pull.unknown_reads = 1000
        else:
            pull.conflicts = change == "conflicts"
            pull.draft = change == "drafts"
            pull.behind = change == "falls_behind"

    def head(self, pr_url: str) -> str:
        return self.pull(pr_url).sha

    def merges(self, pr_url: str) -> int:
        return self.pull(pr_url).merges

    def breaks(self, how: str, *, times: int | None) -> None:
        reset = str(int(T.timestamp()) + 600)
        troubles = {
            "bad_gateway": Trouble(502),
            "forbidden": Trouble(403, body={"message": "Resource not accessible by personal access token"}),
            "unauthorized": Trouble(401, body={"message": "Bad credentials"}),
            "limited": Trouble(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}),
        }
        self.server.trouble.plan(troubles[how], times=times)


@contextmanager
def served(server: FakeGitHub | FakeGitLab, *, clock: FakeClock | None = None) -> Iterator[Served]:
    """An adapter and its fake server; at the end, every REST answer must have fitted the forge's own description."""
    with server.serving():
        clock, secrets = clock or FakeClock(T), FakeSecrets({f"platform/forges/{server.host}": TOKEN})
        server.site.now = clock.now
        kind: Literal["github", "gitlab"] = "github" if isinstance(server, FakeGitHub) else "gitlab"
        hosts = (*USUAL_HOSTS, ForgeHost.of(kind, server.host, server.api_url))
        yield Served(server, clock, secrets, Forges(secrets, clock, hosts=hosts))
    assert off_contract(server) == []


def off_contract(server: FakeForgeServer) -> list[str]:
    """Which answers differed from the forge's description, and how."""
    contract = github_api if isinstance(server, FakeGitHub) else gitlab_api
    return [
        f"{reply.operation} {reply.status} {problem}"
        for reply in server.replies
        if reply.operation
        for problem in contract.problems_of(reply.operation, reply.status, reply.body)
    ]
