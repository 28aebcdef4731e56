"""The orders of a town: what an effect asks the outside world to do. An order is the payload of its row in the outbox.

Orders are JSON objects in snake_case, which control servers and agents of other versions read. So a field is never renamed, and
a new one has a default. An order never contains a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeVar

from shared.domain import wire
from shared.domain.states import EffectKind, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(wire.WireObject):
    """Base of all orders: an order names its town."""

    kind: ClassVar[EffectKind]

    town_id: str


AnyOrder = TypeVar("AnyOrder", bound=Order)
AgentScope = Literal["agent", "coordinator"]
"""The scopes of the tokens of agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedRig(wire.WireObject):
    """The repository in which an agent works."""

    id: str = ""
    name: str = ""
    git_url: str = ""
    default_branch: str = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedBead(wire.WireObject):
    """The bead on which an agent works. `metadata` may contain anything: people and producers write it."""

    id: str
    type: str = "issue"
    title: str = ""
    body: str | None = None
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


_OF_WORK: Final = frozenset(
    {
        "branch",
        "target_branch",
        "pr_url",
        "feature_branch",
        "merge_strategy",
        "review_mode",
        "gates",
        "require_clean_merge",
        "git_push_flags",
        "checkpoint",
    }
)
_OF_A_SERVER: Final = frozenset({"name", "small_model", "start_point", "lightweight", "rigs"})
_OF_THE_PATH: Final = frozenset(
    {"code_review", "convoy_merge_mode", "opens_pr_into", "merges_into", "asks_changes_by", "upstream", "source"}
)
_ADDED: Final = _OF_THE_PATH | {"message", "message_id", "previous_attempt", "prompt", "system_prompt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder(Order):
    """Start an agent (the start context of spec/actions.md section 3): everything that the agent gets, except tokens.

    The dispatch sets every field up to `checkpoint`; `shared.domain.merge_path` explains `opens_pr_into`, `merges_into` and
    `asks_changes_by`. A mayor's session has no bead and no field about work, but `rigs` and the
    `message` for which it is started. `prompt` and `system_prompt` are added when the order is performed, and the rest by a
    control server. A start file (`infra/agents/control_server/start_file.md`) is such an order.
    """

    kind: ClassVar[EffectKind] = EffectKind.DISPATCH_AGENT

    agent_id: str
    generation: int
    role: Role
    organization_id: str | None = None
    identity: str | None = None
    runtime: str | None = None
    rig: OrderedRig | None = None
    bead: OrderedBead | None = None
    prompt_kind: str | None = None
    branch: str | None = None
    target_branch: str | None = None
    pr_url: str | None = None
    feature_branch: str | None = None
    merge_strategy: str | None = None
    code_review: bool | None = None
    review_mode: str | None = None
    convoy_merge_mode: str | None = None
    opens_pr_into: str | None = None
    merges_into: str | None = None
    asks_changes_by: str | None = None
    upstream: str | None = None
    gates: tuple[str, ...] | None = None
    require_clean_merge: bool | None = None
    git_push_flags: str | None = None
    custom_instructions: str | None = None
    model: str | None = None
    checkpoint: object = None
    source: OrderedBead | None = None
    previous_attempt: str | None = None

    rigs: tuple[OrderedRig, ...] | None = None
    message: str | None = None
    message_id: str | None = None

    prompt: str | None = None
    system_prompt: str | None = None

    name: str | None = None
    small_model: str | None = None
    start_point: str | None = None
    lightweight: bool | None = None

    @property
    def scope(self) -> AgentScope:
        """The scope of the token that this start carries: the mayor and triage polecats coordinate, everybody else works."""
        return "coordinator" if self.role is Role.MAYOR or self.prompt_kind == "triage" else "agent"

    def _unsaid(self) -> frozenset[str]:
        """An order without a bead says nothing about work. Only a control server names the agent and adds its own keys."""
        of_work = _OF_WORK if self.bead is None else frozenset()
        return _ADDED | of_work | (_OF_A_SERVER if self.name is None else frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder(Order):
    """Stop an agent's process of one generation. `rearm`: the number of the tick, if an earlier stop is possible."""

    kind: ClassVar[EffectKind] = EffectKind.STOP_AGENT

    agent_id: str
    generation: int
    reason: str | None = None
    rearm: int | None = None

    def _unsaid(self) -> frozenset[str]:
        """The first stop of a generation says nothing about repetitions."""
        return frozenset({"rearm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequestOrder(Order):
    """Base of the orders about one pull request. `rig_host` is the host of the rig's forge: with the rig, it selects the token."""

    bead_id: str
    pr_url: str
    rig_id: str | None = None
    rig_host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOrder(PullRequestOrder):
    """Ask the forge for the state of a pull request.

    `rig_repository` (`owner/name`) comes from the rig's git_url: the answer says which id the forge gives it. With `upstream`, the
    same for the repository into which the rig's fork is merged.
    """

    kind: ClassVar[EffectKind] = EffectKind.POLL_PR

    want_feedback: bool = False
    rig_repository: str | None = None
    upstream: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedIdentity(wire.WireObject):
    """What makes a pull request the MR's: it is compared again immediately before merging. None is not compared."""

    head_repository: str | None = None
    head_branch: str | None = None
    base_repository: str | None = None
    base_branch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOrder(PullRequestOrder):
    """Ask the forge to merge a pull request at the head that was judged, or to put it into the merge queue of its base.

    `head_sha` comes from metadata and is only compared: a value that is not a text matches no head. Null matches every head.
    """

    kind: ClassVar[EffectKind] = EffectKind.MERGE_PR

    head_sha: object = None
    expected: ExpectedIdentity | None = None
    required_checks_only: bool = False
    require_checks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOrder(Order):
    """Check whether the target branch contains what an MR claims to have merged (decision T2).

    `git_url` is the rig's repository, at a forge, by ssh or a path. `head` is the head of the branch, `base` the merge base that
    the worker named, `merge_commit` the commit that the refinery named; each may be unknown.
    """

    kind: ClassVar[EffectKind] = EffectKind.VERIFY_MERGE

    bead_id: str
    git_url: str
    target_branch: str
    branch: str
    rig_id: str | None = None
    rig_host: str | None = None
    head: str | None = None
    base: str | None = None
    merge_commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBranchOrder(PullRequestOrder):
    """Bring the branch of a pull request up to date with its base, if its head is still `head_sha`."""

    kind: ClassVar[EffectKind] = EffectKind.UPDATE_BRANCH

    head_sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DequeueOrder(PullRequestOrder):
    """Take a pull request out of its merge queue, and cancel an automatic merge."""

    kind: ClassVar[EffectKind] = EffectKind.DEQUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReviewOrder(PullRequestOrder):
    """Ask these people to review a pull request again."""

    kind: ClassVar[EffectKind] = EffectKind.REQUEST_REVIEW

    reviewers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NudgeOrder(Order):
    """Send a running agent a short text."""

    kind: ClassVar[EffectKind] = EffectKind.SEND_NUDGE

    agent_id: str
    nudge_id: str
    message: str
    mode: str = "immediate"
    priority: str = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class MayorOrder(Order):
    """Send the mayor a message; `start` starts one that is not running. Without `agent_id`, the town has no mayor.

    `message_id` is the same for every delivery of one message, so that a mayor gets it once; without it, the effect's id is used.
    """

    kind: ClassVar[EffectKind] = EffectKind.NOTIFY_MAYOR

    agent_id: str | None
    subject: str
    message: str
    message_id: str | None = None
    start: StartOrder | None = None

    def _unsaid(self) -> frozenset[str]:
        """Only a message that is kept as a bead has an id of its own."""
        return frozenset({"message_id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator(wire.WireObject):
    """An agent whose tokens are those of a coordinator in one generation; without one, in all of its generations."""

    agent_id: str
    generation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOrder(Order):
    """Give the town's container, and each agent in it, a fresh token. The other agents get tokens of scope `agent`."""

    kind: ClassVar[EffectKind] = EffectKind.REFRESH_TOKEN

    coordinators: tuple[Coordinator, ...] | None = None

    def scope_of(self, agent_id: str, generation: int) -> AgentScope:
        """The scope of the token of one generation of an agent."""
        named = (each for each in self.coordinators or () if each.agent_id == agent_id)
        return "coordinator" if any(each.generation in (None, generation) for each in named) else "agent"

    def _unsaid(self) -> frozenset[str]:
        """A town without coordinators says nothing about them."""
        return frozenset({"coordinators"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStopOrder(Order):
    """Stop the town's idle container."""

    kind: ClassVar[EffectKind] = EffectKind.STOP_CONTAINER

    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder(Order):
    """Change the model of a running agent. An empty model means the runtime's default. A control server adds `small_model`."""

    kind: ClassVar[EffectKind] = EffectKind.UPDATE_MODEL

    agent_id: str
    model: str | None = None
    small_model: str | None = None
    organization_id: str | None = None

    def _unsaid(self) -> frozenset[str]:
        """The town does not know small models."""
        return frozenset({"small_model"})


def rearm_of(payload: Mapping[str, object]) -> int:
    """The number in an order that distinguishes a stop from an earlier one of the same generation; 0 if there is none."""
    rearm = payload.get("rearm")
    return rearm if isinstance(rearm, int) else 0


def addressee_of(payload: Mapping[str, object]) -> str | None:
    """The agent that an order addresses; None if it names none. The order itself may be unreadable."""
    agent_id = payload.get("agent_id")
    return agent_id if isinstance(agent_id, str) else None
