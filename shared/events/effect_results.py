"""All effect results (spec/events.md 4.7): the answers to the calls that a town requested."""

from typing import Final

from shared.events.base import Event
from shared.events.deliveries import EffectDone, MayorNotified, NudgeResult
from shared.events.dispatch_results import DispatchResult, StopResult, dispatch_expired
from shared.events.merge_proofs import MergeVerified
from shared.events.merge_results import BranchUpdated, PrDequeued, PrMergeResult, ReviewRequested
from shared.events.polls import PrPolled

RESULT_EVENTS: Final[tuple[type[Event], ...]] = (
    DispatchResult,
    StopResult,
    PrPolled,
    PrMergeResult,
    MergeVerified,
    BranchUpdated,
    PrDequeued,
    ReviewRequested,
    NudgeResult,
    MayorNotified,
    EffectDone,
)

__all__ = [
    "RESULT_EVENTS",
    "BranchUpdated",
    "DispatchResult",
    "EffectDone",
    "MayorNotified",
    "MergeVerified",
    "NudgeResult",
    "PrDequeued",
    "PrMergeResult",
    "PrPolled",
    "ReviewRequested",
    "StopResult",
    "dispatch_expired",
]
