"""A demo agent's start order, and the switches in it that make the agent misbehave.

The order is the payload of dispatch_agent (spec/actions.md section 3). A bead that demonstrates recovery contains switches:
lines `demo: <switch>` in its body, or labels `demo:<switch>`:

    crash-once    exit with code 3 after the push, before anything is reported
    hang          once: stop working and stop the heartbeats
    lie           first report work for another generation, on a branch that does not exist; then report the truth
    changes-once  as the reviewer, request a test before merging
    slow          wait five times as long at each step

A switch with the prefix `review-` (`review-crash-once`, ...) is for the reviewer. The reviewer sees only the merge request,
whose body is the summary of the work, so the agent that does the work copies the reviewer's switches into that summary.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SWITCH_LINE: Final = re.compile(r"^\s*demo:\s*([a-z-]+)\s*$", re.MULTILINE)
_FOR_REVIEW: Final = "review-"
KNOWN_SWITCHES: Final = frozenset({"crash-once", "hang", "lie", "changes-once", "slow"})


@dataclass(frozen=True, slots=True)
class OrderedBead:
    """The bead that the agent works on, as the order contains it."""

    id: str
    title: str
    body: str
    labels: tuple[str, ...]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """The parts of a start order that a demo agent uses."""

    town_id: str
    agent_id: str
    role: str
    name: str
    generation: int
    git_url: str
    default_branch: str
    bead: OrderedBead
    prompt_kind: str
    branch: str | None
    target_branch: str | None
    feature_branch: str | None
    merge_strategy: str
    pr_url: str | None = None

    @property
    def base_branch(self) -> str:
        """The branch from which new work starts: the convoy's feature branch, which contains the work of the blocking beads;
        without a convoy, the default branch.
        """
        return self.feature_branch or self.default_branch

    @property
    def switches(self) -> frozenset[str]:
        """The switches that apply to this agent."""
        found = _switches(self.bead)
        if self.role != "refinery":
            return frozenset(switch for switch in found if not switch.startswith(_FOR_REVIEW))
        return frozenset(switch.removeprefix(_FOR_REVIEW) for switch in found)

    @property
    def lines_for_the_reviewer(self) -> str:
        """The reviewer's switches, as lines for the summary."""
        wanted = sorted(s for s in _switches(self.bead) if s.startswith(_FOR_REVIEW) or s == "changes-once")
        return "".join(f"\ndemo: {switch}" for switch in wanted)


def order_from(context: Mapping[str, Any]) -> Order:
    """Read a start order. Raises KeyError or TypeError if a required value is missing."""
    bead, rig = context["bead"], context["rig"]
    role = context["role"]
    return Order(
        town_id=context["town_id"],
        agent_id=context["agent_id"],
        role=role,
        name=str(context["identity"]).split(f"-{role}-", maxsplit=1)[0],
        generation=context["generation"],
        git_url=rig["git_url"],
        default_branch=rig["default_branch"],
        bead=OrderedBead(
            id=bead["id"],
            title=bead["title"],
            body=bead.get("body") or "",
            labels=tuple(bead.get("labels") or ()),
            metadata=bead.get("metadata") or {},
        ),
        prompt_kind=context["prompt_kind"],
        branch=context.get("branch"),
        target_branch=context.get("target_branch"),
        feature_branch=context.get("feature_branch"),
        merge_strategy=context.get("merge_strategy") or "direct",
        pr_url=context.get("pr_url"),
    )


def _switches(bead: OrderedBead) -> set[str]:
    labels = {label.removeprefix("demo:") for label in bead.labels if label.startswith("demo:")}
    found = labels | set(_SWITCH_LINE.findall(bead.body))
    return {switch for switch in found if switch.removeprefix(_FOR_REVIEW) in KNOWN_SWITCHES}
