"""An agent that does what its prompt says, and nothing else: it runs the blocks of commands as they stand, in a real clone.

`town-agent` is called for real. Only `pr` commands, which would ask a forge, go to `GitForge`: pull requests over a bare
repository, merged with git. Every report goes to the town as the holder of the agent's token sends it.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from infra.agents.town_agent import command_line, verbs
from infra.agents.town_agent.main import run as town_agent
from infra.agents.town_agent.order import caller
from infra.agents.town_agent.verb import refusal
from shared.adapters import prompts
from shared.domain.orders import StartOrder
from shared.ports.forge import (
    Asker,
    Comment,
    ForgeError,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
    Queued,
)
from tests.fakes import GREEN, FakeForge

GIT_ENV: Final = {
    "GIT_AUTHOR_NAME": "Toast",
    "GIT_AUTHOR_EMAIL": "toast@town.invalid",
    "GIT_COMMITTER_NAME": "Toast",
    "GIT_COMMITTER_EMAIL": "toast@town.invalid",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}
_BLOCK: Final = re.compile(r"^```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_STEP: Final = re.compile(r"^\d+\. ", re.MULTILINE)
_SHIM: Final = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done >> "$CALLS"
printf '\\n\\0' >> "$CALLS"
if [ "$1 $2" = "pr create" ]; then echo "$PR_URL"; fi
"""


def git(*words: str, at: Path, fails: bool = False) -> str:
    """The output of git. It must succeed unless it may fail."""
    done = subprocess.run(
        ["git", *words], cwd=at, env={**os.environ, **GIT_ENV}, check=not fails, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def an_origin(place: Path) -> Path:
    """A bare repository with a first commit on main."""
    seed, origin = place / "seed", place / "origin.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(origin), at=place)
    git("init", "--quiet", "--initial-branch=main", str(seed), at=place)
    (seed / "README.md").write_text("one\n", encoding="utf-8")
    git("add", "--all", at=seed)
    git("commit", "--quiet", "-m", "first", at=seed)
    git("push", "--quiet", str(origin), "main", at=seed)
    return origin


@dataclass
class GitForge(FakeForge):
    """A forge over a bare repository. `threads` are the open ones of each pull request."""

    origin: Path = Path()
    threads: dict[str, dict[str, Comment]] = field(default_factory=dict)

    def opened(self, branch: str, base: str, project: str = "acme/main-rig") -> str:
        """Open a pull request between two branches of the repository, or find the one that is open."""
        for url, pull in self.pull_requests.items():
            if pull.identity is not None and pull.identity.head_branch == branch and pull.state == "open":
                return url
        assert self.head(branch), f"{branch} is not pushed"
        assert self.head(base), f"the base {base} does not exist"
        url = f"https://github.com/{project}/pull/{len(self.pull_requests) + 1}"
        self.opens(url, head_sha=self.head(branch), head=branch, base=base)
        return url

    def head(self, branch: str) -> str:
        """The commit of a branch; empty if there is no such branch."""
        ref = self.origin / "refs" / "heads" / branch
        return ref.read_text(encoding="ascii").strip() if ref.is_file() else ""

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """The pull request with its present head, conflicts and open threads."""
        self._look(pr_url)
        return super().pull_request(asker, pr_url, want_feedback=want_feedback)

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | Queued | NotMerged | ForgeError:
        """Merge with git."""
        pull = self._look(pr_url)
        if pull.state == "open" and pull.identity is not None and head_sha in (None, pull.head_sha):
            merged = self._merged(pull.identity.head_branch, pull.identity.base_branch)
            self.pull_requests[pr_url] = replace(pull, state="merged", merge_sha=merged)
        return super().merge(asker, pr_url, head_sha=head_sha, effect_id=effect_id)

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        """Whether git says that the target contains the branch."""
        target, head = self.head(claim.target_branch), self.head(claim.branch)
        done = subprocess.run(
            ["git", "merge-base", "--is-ancestor", head, target], cwd=self.origin, check=False, capture_output=True
        )
        return Proof(bool(target and head) and done.returncode == 0, sha=target, says="git says so")

    def _look(self, pr_url: str) -> PullRequest:
        pull = self.pull_requests[pr_url]
        if pull.state == "open" and pull.identity is not None:
            head, base = self.head(pull.identity.head_branch), self.head(pull.identity.base_branch)
            said = tuple(self.threads.get(pr_url, {}).values())
            feedback = replace(GREEN, has_unresolved_comments=bool(said), comments=said)
            state = "clean" if _merged_tree(self.origin, base, head) else "dirty"
            pull = replace(pull, head_sha=head, mergeable_state=state, feedback=feedback)
            self.pull_requests[pr_url] = pull
        return pull

    def _merged(self, branch: str, base: str) -> str:
        onto, head = self.head(base), self.head(branch)
        tree = _merged_tree(self.origin, onto, head)
        merged = git("commit-tree", tree, "-p", onto, "-p", head, "-m", f"Merge {branch}", at=self.origin)
        git("update-ref", f"refs/heads/{base}", merged, onto, at=self.origin)
        return merged


@cache
def _merged_tree(origin: Path, base: str, head: str) -> str:
    """The tree in which two commits are merged; empty if they conflict."""
    return git("merge-tree", "--write-tree", base, head, at=origin, fails=True)


def blocks_of(text: str) -> list[str]:
    """The blocks of commands in a prompt, as they stand."""
    return _BLOCK.findall(text)


def steps_of(text: str) -> list[str]:
    """The numbered steps of a prompt."""
    return _STEP.split(text.partition("# What to do\n")[2])[1:]


@dataclass
class LiteralAgent:
    """One start of an agent, in a directory of its own that is empty at first."""

    order: StartOrder
    place: Path
    forge: GitForge
    reports: list[dict[str, Any]] = field(default_factory=list)
    called: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work, desk, bin_ = self.place / "work", self.place / "desk", self.place / "bin"
        for each in (self.work, desk, bin_):
            each.mkdir(parents=True)
        assert self.order.rig is not None
        own = replace(self.order, rig=replace(self.order.rig, git_url=str(self.forge.origin)))
        self.order = prompts.told(own)
        (desk / "start.json").write_text(json.dumps(self.order.as_json()), encoding="utf-8")
        shim = bin_ / "town-agent"
        shim.write_text(_SHIM, encoding="utf-8")
        shim.chmod(0o755)
        self._calls, self._posted = self.place / "calls", self.place / "posted"
        self.environment = {
            **GIT_ENV,
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "HOME": str(desk),
            "CALLS": str(self._calls),
            "TOWN_AGENT_CONTEXT": str(desk / "start.json"),
            "TOWN_AGENT_POST": json.dumps(["sh", "-c", f"cat >> {self._posted} && echo >> {self._posted}"]),
        }

    @property
    def steps(self) -> list[str]:
        """The steps of its task."""
        return steps_of(self.order.prompt or "")

    def runs(self, block: str, *, may_fail: bool = False) -> None:
        """Run a block as it stands, then carry out what it has called."""
        opens = self.order.opens_pr_into
        is_opening = "town-agent pr create" in block
        url = self.forge.opened(self.order.branch or "", opens or "") if is_opening else ""
        done = subprocess.run(
            ["sh", "-c", block],
            cwd=self.work,
            env={**self.environment, "PR_URL": url},
            check=False,
            capture_output=True,
            text=True,
        )
        assert may_fail or done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        for words in self._new_calls():
            self._calls_town_agent(words)

    def _new_calls(self) -> Iterable[list[str]]:
        text = self._calls.read_text(encoding="utf-8") if self._calls.exists() else ""
        self._calls.unlink(missing_ok=True)
        return [each.split("\0")[:-1] for each in text.split("\n\0") if each]

    def _calls_town_agent(self, words: list[str]) -> None:
        self.called.append(words)
        found = verbs.named(words)
        if words[0] == "pr":
            self._calls_forge(words)
        assert found is not None, words
        verb, rest = found
        given = command_line.given_in(verb, rest)
        assert given is not None
        assert refusal(verb, caller(self.environment)) is None, words
        if words[0] == "pr" or verb.reads:
            return
        before = Path.cwd()
        os.chdir(self.work)
        try:
            assert town_agent(words, self.environment) == 0, words
        finally:
            os.chdir(before)
        posted = self._posted.read_text(encoding="utf-8") if self._posted.exists() else ""
        self._posted.unlink(missing_ok=True)
        self.reports += [event for line in posted.splitlines() for event in json.loads(line)]

    def _calls_forge(self, words: list[str]) -> None:
        options = dict(pairwise(words))
        url = options.get("--pr-url", "")
        threads = self.forge.threads.setdefault(url, {})
        if words[1] == "review":
            name = f"T{len(threads) + 1}"
            threads[name] = Comment(words[-1], "Refinery", options["--file"], int(options["--line"]), name)
        if words[1] == "comment" and "--resolve" in words:
            threads.pop(options["--thread"])
        if words[1] == "create":
            assert (options["--base"], options["--branch"]) == (self.order.opens_pr_into, self.order.branch)


Judge = Callable[[StartOrder], bool]


def work_through(agent: LiteralAgent, *, judge: Judge, text: str) -> None:
    """Do every step of the task. A worker writes a file of its own; a reviewer asks for changes or not, as `judge` says."""
    is_review = agent.order.asks_changes_by is not None
    is_good = is_review and judge(agent.order)
    for step in agent.steps:
        if is_review and step.startswith("If something must change") and is_good:
            continue
        if is_review and step.startswith("If it is good") and not is_good:
            continue
        for block in blocks_of(step):
            if 'git commit -m "MESSAGE"' in block:
                bead = agent.order.bead
                name = f"work-{'' if bead is None else bead.id}.txt"
                (agent.work / name).write_text(f"{text}\n", encoding="utf-8")
            if "MERGE_HEAD" in block:
                for name in git("diff", "--name-only", "--diff-filter=U", at=agent.work).splitlines():
                    (agent.work / name).write_text("both\n", encoding="utf-8")
            agent.runs(block, may_fail=step.startswith("Merge the target into the branch"))
