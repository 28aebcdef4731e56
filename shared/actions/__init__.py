"""Every action: the changes that rules and events can request (spec/actions.md)."""

from typing import Final

from shared.actions.agents import (
    ClearAgentCheckpoint,
    DeleteAgent,
    HookAgent,
    ResetAgentDispatchAttempts,
    TransitionAgent,
    UnhookAgent,
    UpdateAgentModel,
)
from shared.actions.base import Action
from shared.actions.beads import AssignBead, ClearBeadAssignee, TransitionBead
from shared.actions.container import RefreshContainerToken, StopContainer
from shared.actions.convoys import (
    CloseConvoy,
    CreateLandingMr,
    FailConvoy,
    SetConvoyReadyToLand,
    UpdateConvoyProgress,
)
from shared.actions.dispatch import DispatchAgent, StartTriageBatch, StopAgent
from shared.actions.escalations import CloseEscalation, EscalateReviewCap, RaiseEscalation
from shared.actions.merging import Dequeue, MergePr, RequestReview, UpdateBranch
from shared.actions.messages import EmitEvent, ExpireNudge, NotifyMayor, SendNudge
from shared.actions.proofs import VerifyMerge
from shared.actions.reviews import CloseSiblingMrs, CreateMrBead, PollPr, SetReviewPrUrl
from shared.actions.spending import MarkBudget, WarnOfBudget
from shared.actions.triage import BumpEscalation, CreateTriageRequest
from shared.actions.triage_exhausted import EscalateTriage

ACTIONS: Final[tuple[type[Action], ...]] = (
    TransitionBead,
    AssignBead,
    ClearBeadAssignee,
    CreateMrBead,
    CreateLandingMr,
    CloseSiblingMrs,
    SetReviewPrUrl,
    TransitionAgent,
    ResetAgentDispatchAttempts,
    HookAgent,
    UnhookAgent,
    ClearAgentCheckpoint,
    DeleteAgent,
    UpdateConvoyProgress,
    SetConvoyReadyToLand,
    CloseConvoy,
    FailConvoy,
    CreateTriageRequest,
    EscalateTriage,
    EmitEvent,
    BumpEscalation,
    RaiseEscalation,
    CloseEscalation,
    EscalateReviewCap,
    WarnOfBudget,
    MarkBudget,
    ExpireNudge,
    DispatchAgent,
    StartTriageBatch,
    StopAgent,
    PollPr,
    MergePr,
    VerifyMerge,
    UpdateBranch,
    Dequeue,
    RequestReview,
    SendNudge,
    NotifyMayor,
    RefreshContainerToken,
    StopContainer,
    UpdateAgentModel,
)
"""In the order of spec/actions.md."""

__all__ = [
    "ACTIONS",
    "Action",
    "AssignBead",
    "BumpEscalation",
    "ClearAgentCheckpoint",
    "ClearBeadAssignee",
    "CloseConvoy",
    "CloseEscalation",
    "CloseSiblingMrs",
    "CreateLandingMr",
    "CreateMrBead",
    "CreateTriageRequest",
    "DeleteAgent",
    "Dequeue",
    "DispatchAgent",
    "EmitEvent",
    "EscalateReviewCap",
    "EscalateTriage",
    "ExpireNudge",
    "FailConvoy",
    "HookAgent",
    "MarkBudget",
    "MergePr",
    "NotifyMayor",
    "PollPr",
    "RaiseEscalation",
    "RefreshContainerToken",
    "RequestReview",
    "ResetAgentDispatchAttempts",
    "SendNudge",
    "SetConvoyReadyToLand",
    "SetReviewPrUrl",
    "StartTriageBatch",
    "StopAgent",
    "StopContainer",
    "TransitionAgent",
    "TransitionBead",
    "UnhookAgent",
    "UpdateAgentModel",
    "UpdateBranch",
    "UpdateConvoyProgress",
    "VerifyMerge",
    "WarnOfBudget",
]
