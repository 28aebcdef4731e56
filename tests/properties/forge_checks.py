"""What must hold after every tick beside a hostile forge, each judged by the forge's own truth and log."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from shared.domain import limits
from shared.domain.obstacles import VOICED
from shared.domain.times import from_text
from tests.properties.forge_life import ForgeLife
from tests.properties.forge_world import HostileForge, MergeDone, Pull
from tests.properties.life import Ticked

BLIND: Final = ("forge_denied", "forge_down", "forge_unreadable")
"""The obstacles of a pull request at which nobody could look."""

CAUSES: Final[dict[str, Callable[[HostileForge, Pull | None], bool]]] = {
    "draft": lambda forge, pull: pull is not None and pull.draft,
    "changes_requested": lambda forge, pull: pull is not None and pull.changes,
    "checks_unreadable": lambda forge, pull: forge.checks != "readable",
    "in_merge_queue": lambda forge, pull: pull is not None and pull.queued,
    "behind_base": lambda forge, pull: pull is not None and forge.behind(pull),
    "pr_mismatch": lambda forge, pull: (
        forge.identity == "headless" or (pull is not None and pull.base_branch == "release")
    ),
    **{name: lambda forge, pull: forge.error is not None or pull is None for name in BLIND},
}
"""Of each obstacle: whether it is true at the forge."""


@dataclass(frozen=True)
class Review:
    """A merge request as it is stored."""

    id: str
    status: str
    metadata: dict[str, Any]
    repository: str
    branch: str
    target: str
    pr_url: str | None
    merge_commit: str | None
    source: str | None

    @property
    def agreed(self) -> tuple[str | None, str, str, str]:
        """The pull request that may be merged: head repository and branch, base repository and branch."""
        pinned = self.metadata.get("pinned")
        branches = (self.branch, self.target) if pinned is None else (pinned["head_branch"], pinned["base_branch"])
        return self.repository, branches[0], self.repository, branches[1]

    @property
    def obstacle(self) -> str | None:
        """Why its pull request cannot go on."""
        return self.metadata.get("obstacle") if self.status == "in_progress" else None


@dataclass
class ForgeChecks:
    """The checks of one life."""

    judged: int = 0
    outlived: dict[tuple[str, str], int] = field(default_factory=dict)
    stale: dict[str, int] = field(default_factory=dict)
    before: dict[str, Review] = field(default_factory=dict)
    hooked: set[str] = field(default_factory=set)

    @classmethod
    def watching(cls, life: ForgeLife) -> None:
        """From now on every tick of a life is judged."""
        life.checks = (cls().after,)  # type: ignore[assignment] # the checks of a life with a forge

    def after(self, life: ForgeLife, ticked: Ticked) -> None:
        """Everything that is judged after a tick."""
        found = reviews(life)
        self.only_the_agreed_pull_request_is_merged(life, found)
        closed_as_merged_is_merged(life, found)
        self.nothing_starts_because_nobody_could_look(life, ticked, found)
        one_generation_works_on_a_bead(life)
        self.waits_are_true(life, ticked, found)
        self.escalations_end_with_their_causes(life, found)
        self.before = found
        self.hooked = {row[0] for row in life.town.rows("SELECT current_hook_bead_id FROM agent_metadata ORDER BY 1")}

    def only_the_agreed_pull_request_is_merged(self, life: ForgeLife, found: dict[str, Review]) -> None:
        """By the forge's own log. What it shows may be old, and somebody may strike in between: then the town is not to blame."""
        for done in life.forge.log[self.judged :]:
            review = found.get(life.merging.get(done.pull.url, ""))
            if done.by == "the town" and review is not None:
                assert _is_agreed(done, review), f"merged {done.pull} for {review}"
        self.judged = len(life.forge.log)

    def nothing_starts_because_nobody_could_look(
        self, life: ForgeLife, ticked: Ticked, found: dict[str, Review]
    ) -> None:
        """A start of a merge request, or of its source, whose pull request could not be read is work that is done twice.

        A reviewer that dies meanwhile is replaced as ever: its work ended with it.
        """
        blind = {review.id: review for review in self.before.values() if review.obstacle in BLIND}
        sources = {review.source for review in blind.values() if found[review.id].status == "in_progress"}
        for effect in ticked.report.effects:
            if effect.kind == "dispatch_agent":
                bead = (effect.payload.get("bead") or {}).get("id")  # type: ignore[attr-defined] # an order is JSON
                assert bead not in blind or bead in self.hooked, (
                    f"{bead} is started, and nobody could look at its pull request"
                )
                assert bead not in sources, f"{bead} is started although its review waits for the forge"

    def waits_are_true(self, life: ForgeLife, ticked: Ticked, found: dict[str, Review]) -> None:
        """An obstacle is true at the forge, or at most two successful polls have not removed it yet."""
        looked = _looked(life, ticked)
        for review in found.values():
            key = (review.id, review.obstacle or "")
            cause = CAUSES.get(key[1])
            pull = life.forge.pulls.get(review.pr_url or "")
            if cause is None or cause(life.forge, pull):
                self.outlived = {each: n for each, n in self.outlived.items() if each[0] != review.id}
            elif review.id in looked and review.pr_url in life.forge.fresh:
                self.outlived[key] = self.outlived.get(key, 0) + 1
                assert self.outlived[key] <= 2, f"{review} waits for what is over; the pull request is {pull}"

    def escalations_end_with_their_causes(self, life: ForgeLife, found: dict[str, Review]) -> None:
        """A wait of more than a day has one voice, and what a rule has raised about an obstacle ends with it, a tick later."""
        live = caused(life)
        for reason, subject in live:
            assert live.count((reason, subject)) == 1, f"{reason} of {subject} is told {live} times"
            gone = reason in CAUSES and _is_over(reason, subject, found)
            key = f"{reason}:{subject}"
            self.stale[key] = self.stale.get(key, 0) + 1 if gone else 0
            assert self.stale[key] <= 1, f"the escalation about {key} outlives its cause"
        for review in found.values():
            if review.obstacle in ("awaiting_merge", "awaiting_approval"):
                assert (review.obstacle, review.id) not in live
            since = review.metadata.get("obstacle_since")
            is_old = since is not None and life.now - from_text(since) > limits.OBSTACLE_VOICED_AFTER + timedelta(
                minutes=5
            )
            if review.obstacle in VOICED and is_old and not _told_otherwise(review):
                assert (review.obstacle, review.id) in live, f"nobody is told that {review} waits since {since}"


def reviews(life: ForgeLife) -> dict[str, Review]:
    """Every merge request, by id."""
    rows = life.town.rows(
        "SELECT b.bead_id, b.status, b.metadata, g.git_url, r.branch, r.target_branch, r.pr_url, r.merge_commit, "
        "(SELECT d.depends_on_bead_id FROM bead_dependencies d WHERE d.bead_id = b.bead_id "
        "AND d.dependency_type = 'tracks' ORDER BY 1 LIMIT 1) "
        "FROM beads b JOIN review_metadata r ON r.bead_id = b.bead_id LEFT JOIN rigs g ON g.id = b.rig_id "
        "ORDER BY b.bead_id"
    )
    found = {}
    for bead_id, status, metadata, git_url, *rest in rows:
        repository = (git_url or "").removeprefix("https://github.com/").removesuffix(".git")
        found[bead_id] = Review(bead_id, status, json.loads(metadata or "{}"), repository, *rest)
    return found


def caused(life: ForgeLife) -> list[tuple[str, str]]:
    """(reason, subject) of every live escalation that a rule raised."""
    rows = life.town.rows(
        "SELECT json_extract(metadata, '$.cause') FROM beads WHERE type = 'escalation' "
        "AND status NOT IN ('closed', 'failed') AND json_extract(metadata, '$.cause') IS NOT NULL ORDER BY bead_id"
    )
    return [(cause.split(":", 1)[0], cause.split(":", 1)[1]) for (cause,) in rows]


def _is_agreed(done: MergeDone, review: Review) -> bool:
    pull, shown = done.pull, done.shown
    if shown is None or shown.identity is None or shown.identity.head_repository is None:
        return False
    seen = (
        shown.identity.head_repository.name,
        shown.identity.head_branch,
        shown.identity.base_repository.name,
        shown.identity.base_branch,
    )
    agreed = review.agreed
    really = (pull.head_repository, pull.head_branch, pull.base_repository, pull.base_branch)
    return seen == agreed and (really == agreed or really != seen)


def closed_as_merged_is_merged(life: ForgeLife, found: dict[str, Review]) -> None:
    """Closed as merged means that the target contains it, or that it is marked as unproven."""
    merged = {
        row[0]
        for row in life.town.rows(
            "SELECT bead_id FROM bead_events WHERE event_type = 'review_completed' AND new_value = 'merged'"
        )
    }
    for review in found.values():
        if review.id in merged and review.status == "closed" and not review.metadata.get("unproven"):
            sha = review.merge_commit
            contained = life.forge.contains(review.repository, review.agreed[3], sha)
            assert contained, f"{review} is closed as merged, and {review.target} does not contain {sha}"


def one_generation_works_on_a_bead(life: ForgeLife) -> None:
    """At most one agent is hooked to a bead, and every other process about it is told to stop."""
    twice = life.town.rows(
        "SELECT current_hook_bead_id FROM agent_metadata WHERE current_hook_bead_id IS NOT NULL "
        "GROUP BY 1 HAVING COUNT(*) > 1 ORDER BY 1"
    )
    assert twice == [], f"several agents are hooked to {twice}"
    hooks = {
        row[:2]: row[2]
        for row in life.town.rows(
            "SELECT bead_id, generation, current_hook_bead_id FROM agent_metadata ORDER BY bead_id"
        )
    }
    stops = set(life.town.rows("SELECT subject, generation FROM outbox WHERE kind = 'stop_agent' ORDER BY seq"))
    works: dict[str, list[tuple[str, int]]] = {}
    for key, order in life.processes.running.items():
        if order.bead is not None and key not in stops:
            works.setdefault(order.bead.id, []).append(key)
    for bead, keys in works.items():
        assert len(keys) == 1, f"{keys} work on {bead}, hooks: {hooks}"


def _looked(life: ForgeLife, ticked: Ticked) -> set[str]:
    """The merge requests of which this tick has applied a poll that saw the pull request."""
    found = set()
    for seen in ticked.report.events:
        envelope = life.posted.get(seen.event_id)
        if seen.event_type != "pr_polled" or seen.outcome != "applied" or envelope is None:
            continue
        if json.loads(envelope.payload).get("ok") and envelope.bead_id is not None:
            found.add(envelope.bead_id)
    return found


def _is_over(reason: str, subject: str, found: dict[str, Review]) -> bool:
    """Whether nothing waits for that reason. What is about a source ends with the source."""
    if subject in found:
        return found[subject].obstacle != reason
    if any(review.source == subject for review in found.values()):
        return False
    episodes = {review.metadata.get(key) for review in found.values() for key in ("episode", "checks_episode")}
    return subject not in episodes


def _told_otherwise(review: Review) -> bool:
    """Whether a decision has raised an escalation for that cause already."""
    return "checks_episode" in review.metadata
