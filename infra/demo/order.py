"""What a demo agent was told: its start order, and how to misbehave.

The order is the payload of dispatch_agent (spec/actions.md section 3). A bead that is to show recovery says so in its
body, one `demo: <switch>` a line, or in a label `demo:<switch>`:

    crash-once    ends with exit code 3 when the work is pushed and nothing is reported
    hang          once: goes silent for ever, also for its heartbeat
    lie           first reports another generation's work done on a branch that does not exist, then the truth
    changes-once  the reviewer asks for a test before it merges
    slow          takes five times as long

With the prefix `review-` (`review-crash-once`, ...) a switch is meant for the reviewer. A reviewer only sees the
merge request, whose body is the summary of the work; so the one who does the work copies into it what the reviewer
must know.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SWITCH_LINE: Final = re.compile(r"^\s*demo:\s*([a-z-]+)\s*$", re.MULTILINE)
_FOR_REVIEW: Final = "review-"
KNOWN_SWITCHES: Final = frozenset({"crash-once", "hang", "lie", "changes-once", "slow"})


@dataclass(frozen=True, slots=True)
class Bead:
    """The work record that the agent is hooked to."""

    id: str
    title: str
    body: str
    labels: tuple[str, ...]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """One dispatch, as far as a demo agent cares."""

    town_id: str
    agent_id: str
    role: str
    name: str
    generation: int
    git_url: str
    default_branch: str
    bead: Bead
    prompt_kind: str
    branch: str | None
    target_branch: str | None
    feature_branch: str | None
    merge_strategy: str
    pr_url: str | None = None

    @property
    def base_branch(self) -> str:
        """Where new work starts from: the convoy's feature branch, which holds what its blockers built, else the
        default.
        """
        return self.feature_branch or self.default_branch

    @property
    def switches(self) -> frozenset[str]:
        """How this agent is to misbehave in this order."""
        found = _switches(self.bead)
        if self.role != "refinery":
            return frozenset(switch for switch in found if not switch.startswith(_FOR_REVIEW))
        return frozenset(switch.removeprefix(_FOR_REVIEW) for switch in found)

    @property
    def lines_for_the_reviewer(self) -> str:
        """What the summary must carry on."""
        wanted = sorted(s for s in _switches(self.bead) if s.startswith(_FOR_REVIEW) or s == "changes-once")
        return "".join(f"\ndemo: {switch}" for switch in wanted)


def order_from(context: Mapping[str, Any]) -> Order:
    """Read a start order. Raises KeyError or TypeError if it is none that an agent can work with."""
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
        bead=Bead(
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


def _switches(bead: Bead) -> set[str]:
    labels = {label.removeprefix("demo:") for label in bead.labels if label.startswith("demo:")}
    found = labels | set(_SWITCH_LINE.findall(bead.body))
    return {switch for switch in found if switch.removeprefix(_FOR_REVIEW) in KNOWN_SWITCHES}
