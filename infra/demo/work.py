"""What demo agents do: a polecat builds, a refinery reviews and lands, and both can be told to fail in between.

Every step finds what an earlier generation has done and goes on from there: a branch that was pushed is taken up, a
merge that was pushed is only reported. So it does not matter where an agent is killed.
"""

import os
import time
from dataclasses import dataclass
from typing import Final

from infra.demo import written_module
from infra.demo.git import GitFailed, Repository, Worktree
from infra.demo.order import Order
from infra.demo.pull_requests import PullRequests
from infra.demo.reports import Heart, Reports
from shared.ports.clock import Clock

CRASH_CODE: Final = 3
_PUSH_TRIES: Final = 6
_HANG_SECONDS: Final = 6 * 3600.0  # for ever, as a town sees it; but nobody has to hunt for it after a demo was killed


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent at work on one order. `pace` is how many seconds of the clock it thinks at each step.

    `pull_requests` are None where the town lands directly; else a branch is handed over by a pull request, what a
    reviewer misses is said there, and it is the town that merges.
    """

    order: Order
    repository: Repository
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
        """Write a module for the bead on a branch of its own, and hand it to review."""
        order, bead = self.order, self.order.bead
        branch = order.branch or f"gt/{order.name.lower()}/{bead.id[:8]}"
        self.repository.ensure_branch(order.base_branch, base=order.default_branch)
        self._think(f"Reading {bead.title!r}")
        base = self.repository.existing_tip(order.base_branch)
        tree = self._checkout(self.repository.tip(branch) or base)
        tree.merge_preferring_ours(base, message=f"Merge {order.base_branch} into {branch}")
        module = written_module.write_module(tree.path, bead)
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
        """Do on an existing branch what a reviewer, a check or a conflict asks for: newest target merged in, tests
        added.
        """
        order = self.order
        target = order.target_branch or order.default_branch
        tree = self._checkout(self.repository.tip(branch) or self.repository.existing_tip(target))
        tree.merge_preferring_ours(self.repository.existing_tip(target), message=f"Merge {target} into {branch}")
        self._think(f"Reworking {branch}")
        changed = tree.changed_since(self.repository.existing_tip(target))
        for module in written_module.modules_without_test(tree.path, changed):
            written_module.write_test(tree.path, module)
        tree.commit(f"{order.bead.title}\n\nBead: {order.bead.id}")
        self._push(tree, branch)
        self._misbehave(branch)
        if self.pull_requests is not None and order.pr_url:
            self._say(f"Settled {self.pull_requests.resolve_all(order.pr_url)} threads of {order.pr_url}")
        self.reports.done(branch, summary="Merged the newest target and added tests.")

    def _review(self) -> None:
        """Judge a branch; land it on its target or say what is missing."""
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
        """Say on the pull request what is missing, or nothing; the landing of a convoy first gets one."""
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
        """The pull request of a branch; None where there are none."""
        if self.pull_requests is None:
            return None
        bead = self.order.bead
        return self.pull_requests.open(branch, target, title=bead.title, body=f"Bead: {bead.id}")

    def _land(self, branch: str, target: str) -> "Missing | None":
        """Merge a branch into its target, unless something is missing. Others land at the same time: the loser tries
        again.
        """
        message = f"Merge {branch}\n\n{self.order.bead.title}\nBead: {self.order.bead.id}"
        for attempt in range(_PUSH_TRIES):
            tree = self._checkout(self.repository.existing_tip(target), attempt)
            conflicts = tree.merge(self.repository.existing_tip(branch), message=message)
            if conflicts:
                return Missing(f"{branch} does not merge cleanly into {target}: merge it and settle it", conflicts)
            missing = self._judge(tree, target)
            if missing:
                return missing
            if tree.push(target):
                return None
            time.sleep(0.05 * (attempt + 1))
            self.repository.fetch()
        raise GitFailed(f"{target} could not be pushed in {_PUSH_TRIES} tries")

    def _judge(self, tree: Worktree, target: str) -> "Missing | None":
        """What a reviewer finds in the merged tree: by machine always, by taste only where the bead says so."""
        changed = tree.changed_since(self.repository.existing_tip(target))
        wrong = written_module.problems(tree.path, changed)
        if wrong:
            return Missing("\n".join(wrong), changed)
        untested = written_module.modules_without_test(tree.path, changed)
        if untested and "changes-once" in self.order.switches:
            return Missing(f"Please add a test for {', '.join(untested)}.", untested)
        return None

    def _answer_triage(self) -> None:
        requests = [str(request) for request in self.order.bead.metadata.get("request_ids", ())]
        self._think(f"Answering {len(requests)} triage requests")
        self.reports.answers_triage(requests, branch=self.order.default_branch)

    def _push(self, tree: Worktree, branch: str) -> None:
        """Publish a branch; what somebody else (an earlier generation) has pushed meanwhile stays underneath."""
        for attempt in range(_PUSH_TRIES):
            if tree.push(branch):
                return
            time.sleep(0.05 * (attempt + 1))
            self.repository.fetch()
            tip = self.repository.tip(branch)
            if tip is not None:
                tree.rebase(tip)
        raise GitFailed(f"{branch} could not be pushed in {_PUSH_TRIES} tries")

    def _misbehave(self, branch: str) -> None:
        """Fail as told, where it hurts most: the work is done and pushed, and nobody has been told."""
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
    """What a reviewer wants before it merges."""

    feedback: str
    files: list[str]
