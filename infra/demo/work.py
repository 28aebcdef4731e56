"""The work of demo agents: a polecat implements, a refinery reviews and lands, and a bead can tell both to fail in between.

Every step continues the work of an earlier generation: it reuses a branch that was pushed, and if a merge was pushed, it only
reports it. So an agent can be killed at any point.
"""

import os
import time
from dataclasses import dataclass
from typing import Final

from infra.demo import feature_modules
from infra.demo.forge_client import PullRequests
from infra.demo.git import GitFailed, Mirror, Worktree
from infra.demo.order import Order
from infra.demo.reports import Heart, Reports
from shared.domain.notes import TriageNotes
from shared.ports.clock import Clock

CRASH_CODE: Final = 3
_PUSH_TRIES: Final = 6
_HANG_SECONDS: Final = (
    6 * 3600.0
)  # longer than the town waits, but the process still ends by itself if the demo is killed


@dataclass(frozen=True, slots=True)
class DemoAgent:
    """One agent that works on one order. At each step, it waits `pace` seconds of the clock.

    `pull_requests` is None if agents land work themselves. Otherwise a polecat opens a pull request, the reviewer comments
    on it, and the town merges it.
    """

    order: Order
    repository: Mirror
    reports: Reports
    heart: Heart
    clock: Clock
    pace: float
    pull_requests: PullRequests | None = None

    def work(self) -> None:
        """Carry out the order and report it."""
        self.repository.fetch()
        if self.order.prompt_kind == "triage":
            self._answer_triage()
        elif self.order.prompt_kind in ("review", "landing"):
            self._review()
        elif self.order.branch and self.order.prompt_kind != "work":
            self._rework(self.order.branch)
        else:
            self._build()

    def _build(self) -> None:
        """Write a module for the bead on a branch of its own, and hand it over for review."""
        order, bead = self.order, self.order.bead
        branch = order.branch or f"gt/{order.name.lower()}/{bead.id[:8]}"
        self.repository.ensure_branch(order.base_branch, base=order.default_branch)
        self._think(f"Reading {bead.title!r}")
        base = self.repository.existing_tip(order.base_branch)
        tree = self._checkout(self.repository.tip(branch) or base)
        tree.merge_preferring_ours(base, message=f"Merge {order.base_branch} into {branch}")
        module = feature_modules.write_module(tree.path, bead)
        self._think(f"Writing {module}")
        tree.commit(f"{bead.title}\n\nBead: {bead.id}")
        self._push(tree, branch)
        self._misbehave(branch)
        self.reports.done(
            branch,
            summary=f"Adds {module}.{order.lines_for_the_reviewer}",
            pr_url=self._opened(branch, order.base_branch),
        )

    def _rework(self, branch: str) -> None:
        """Rework an existing branch: merge the current target into it and add the missing tests."""
        order = self.order
        target = order.target_branch or order.default_branch
        tree = self._checkout(self.repository.tip(branch) or self.repository.existing_tip(target))
        tree.merge_preferring_ours(self.repository.existing_tip(target), message=f"Merge {target} into {branch}")
        self._think(f"Reworking {branch}")
        changed = tree.changed_since(self.repository.existing_tip(target))
        for module in feature_modules.modules_without_test(tree.path, changed):
            feature_modules.write_test(tree.path, module)
        tree.commit(f"{order.bead.title}\n\nBead: {order.bead.id}")
        self._push(tree, branch)
        self._misbehave(branch)
        if self.pull_requests is not None and order.pr_url:
            self._say(f"Resolved {_threads(self.pull_requests.resolve_all(order.pr_url))} of {order.pr_url}")
        self.reports.done(branch, summary="Merged the newest target and added tests.")

    def _review(self) -> None:
        """Review a branch; land it on its target, or request changes."""
        branch = self.order.branch or ""
        self._think(f"Reviewing {branch}")
        if self.pull_requests is not None:
            self._review_pull_request(self.pull_requests, branch)
            return
        missing = self._land(branch, self.order.target_branch or self.order.default_branch)
        self._misbehave(branch)
        if missing:
            self.reports.asks_for_changes(missing.feedback, files=missing.files, branch=branch)
        else:
            self.reports.done(branch)

    def _review_pull_request(self, pull_requests: PullRequests, branch: str) -> None:
        """Comment on the pull request if something is missing. For the landing of a convoy, open the pull request first."""
        target = self.order.target_branch or self.order.default_branch
        pr_url = self.order.pr_url or self._opened(branch, target)
        commit = self.repository.existing_tip(branch)
        tree = self._checkout(commit)
        missing = self._judge(tree, target)
        self._misbehave(branch)
        if missing and pr_url is not None:
            pull_requests.comment(pr_url, missing.feedback, path=missing.files[0], commit=commit)
        self.reports.done(branch, pr_url=pr_url)

    def _opened(self, branch: str, target: str) -> str | None:
        """Open the pull request of a branch and return its URL; None if agents land work themselves."""
        if self.pull_requests is None:
            return None
        bead = self.order.bead
        return self.pull_requests.open(branch, target, title=bead.title, body=f"Bead: {bead.id}")

    def _land(self, branch: str, target: str) -> "Missing | None":
        """Merge a branch into its target, unless something is missing. Retry if the push fails, because another agent was first."""
        message = f"Merge {branch}\n\n{self.order.bead.title}\nBead: {self.order.bead.id}"
        for attempt in range(_PUSH_TRIES):
            tree = self._checkout(self.repository.existing_tip(target), attempt)
            conflicts = tree.merge(self.repository.existing_tip(branch), message=message)
            if conflicts:
                return Missing(
                    f"{branch} does not merge cleanly into {target}: merge {target} and resolve the conflicts",
                    conflicts,
                )
            missing = self._judge(tree, target)
            if missing:
                return missing
            if tree.push(target):
                return None
            time.sleep(0.05 * (attempt + 1))
            self.repository.fetch()
        raise GitFailed(f"{target} could not be pushed in {_PUSH_TRIES} attempts")

    def _judge(self, tree: Worktree, target: str) -> "Missing | None":
        """The reviewer's findings in the merged tree: problems, and missing tests if the bead has the switch `changes-once`."""
        changed = tree.changed_since(self.repository.existing_tip(target))
        wrong = feature_modules.problems(tree.path, changed)
        if wrong:
            return Missing("\n".join(wrong), changed)
        untested = feature_modules.modules_without_test(tree.path, changed)
        if untested and "changes-once" in self.order.switches:
            return Missing(f"Please add a test for {', '.join(untested)}.", untested)
        return None

    def _answer_triage(self) -> None:
        requests = TriageNotes.request_ids.of(self.order.bead.metadata)
        self._think(f"Answering {len(requests)} triage requests")
        self.reports.answers_triage(requests, branch=self.order.default_branch)

    def _push(self, tree: Worktree, branch: str) -> None:
        """Push a branch. If an earlier generation has pushed to it meanwhile, rebase onto its commits."""
        for attempt in range(_PUSH_TRIES):
            if tree.push(branch):
                return
            time.sleep(0.05 * (attempt + 1))
            self.repository.fetch()
            tip = self.repository.tip(branch)
            if tip is not None:
                tree.rebase(tip)
        raise GitFailed(f"{branch} could not be pushed in {_PUSH_TRIES} attempts")

    def _misbehave(self, branch: str) -> None:
        """Fail as the bead's switches say, at the worst moment: after the push, before the report."""
        for switch in sorted(self.order.switches & {"crash-once", "hang", "lie"}):
            name = f"{self.order.bead.id}/{self.order.prompt_kind}/{switch}"
            if not self.repository.first_time(name, base=self.order.default_branch):
                continue
            print(f"demo: {switch}", flush=True)
            if switch == "crash-once":
                os._exit(CRASH_CODE)
            elif switch == "hang":
                self.heart.stop()
                self.reports.says("Hanging, as told")
                self.clock.sleep(_HANG_SECONDS)
                os._exit(CRASH_CODE)
            else:
                self.reports.done_by_another_generation(f"{branch}-never-pushed")

    def _say(self, line: str) -> None:
        print(line, flush=True)
        self.reports.says(line)

    def _think(self, about: str) -> None:
        self._say(about)
        self.clock.sleep(self.pace * (5 if "slow" in self.order.switches else 1))

    def _checkout(self, commit: str, attempt: int = 0) -> Worktree:
        return self.repository.checkout(commit, name=f"{self.order.generation}-{attempt}")


@dataclass(frozen=True, slots=True)
class Missing:
    """Changes that a reviewer requires before it merges."""

    feedback: str
    files: list[str]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
