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
from dataclasses import dataclass
from typing import Final

from shared.adapters.start_request import name_of
from shared.domain.orders import OrderedBead, StartOrder

_SWITCH_LINE: Final = re.compile(r"^\s*demo:\s*([a-z-]+)\s*$", re.MULTILINE)
_FOR_REVIEW: Final = "review-"
KNOWN_SWITCHES: Final = frozenset({"crash-once", "hang", "lie", "changes-once", "slow"})


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


def order_from(order: StartOrder) -> Order:
    """The parts of a start order that a demo agent uses. Raises ValueError if it has no bead or no repository."""
    if order.bead is None or order.rig is None:
        raise ValueError("the order has no bead" if order.bead is None else "the order has no repository")
    return Order(
        town_id=order.town_id,
        agent_id=order.agent_id,
        role=order.role,
        name=name_of(order),
        generation=order.generation,
        git_url=order.rig.git_url,
        default_branch=order.rig.default_branch,
        bead=order.bead,
        prompt_kind=order.prompt_kind or "",
        branch=order.branch,
        target_branch=order.target_branch,
        feature_branch=order.feature_branch,
        merge_strategy=order.merge_strategy or "direct",
        pr_url=order.pr_url,
    )


def _switches(bead: OrderedBead) -> set[str]:
    labels = {label.removeprefix("demo:") for label in bead.labels if label.startswith("demo:")}
    found = labels | set(_SWITCH_LINE.findall(bead.body or ""))
    return {switch for switch in found if switch.removeprefix(_FOR_REVIEW) in KNOWN_SWITCHES}
