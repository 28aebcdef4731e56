"""Orders of every kind, for tests that care about one or two of their fields."""

from typing import Any

from shared.domain import wire
from shared.domain.notice_orders import NoticeOrder
from shared.domain.orders import (
    ContainerStopOrder,
    DequeueOrder,
    MayorOrder,
    MergeOrder,
    ModelOrder,
    NudgeOrder,
    Order,
    PollOrder,
    RequestReviewOrder,
    StartOrder,
    StopOrder,
    TokenOrder,
    UpdateBranchOrder,
    VerifyOrder,
)
from shared.domain.states import EffectKind

SHAPES: dict[EffectKind, type[Order]] = {
    shape.kind: shape
    for shape in (
        ContainerStopOrder,
        DequeueOrder,
        MayorOrder,
        MergeOrder,
        ModelOrder,
        NoticeOrder,
        NudgeOrder,
        PollOrder,
        RequestReviewOrder,
        StartOrder,
        StopOrder,
        TokenOrder,
        UpdateBranchOrder,
        VerifyOrder,
    )
}


def a_payload(kind: EffectKind, subject: str, generation: int = 1, /, **given: Any) -> dict[str, Any]:
    """The payload of such an order, with everything that its reader requires."""
    required: dict[EffectKind, dict[str, Any]] = {
        EffectKind.DISPATCH_AGENT: {"agent_id": subject, "generation": generation, "role": "polecat"},
        EffectKind.STOP_AGENT: {"agent_id": subject, "generation": generation},
        EffectKind.POLL_PR: {"bead_id": subject, "pr_url": "https://github.com/acme/main-rig/pull/1"},
        EffectKind.MERGE_PR: {"bead_id": subject, "pr_url": "https://github.com/acme/main-rig/pull/1"},
        EffectKind.VERIFY_MERGE: {"bead_id": subject, "git_url": "/srv/rig", "target_branch": "main", "branch": "b"},
        EffectKind.UPDATE_BRANCH: {
            "bead_id": subject,
            "pr_url": "https://github.com/acme/main-rig/pull/1",
            "head_sha": "head-1",
        },
        EffectKind.DEQUEUE: {"bead_id": subject, "pr_url": "https://github.com/acme/main-rig/pull/1"},
        EffectKind.REQUEST_REVIEW: {"bead_id": subject, "pr_url": "https://github.com/acme/main-rig/pull/1"},
        EffectKind.SEND_NUDGE: {"agent_id": "p", "nudge_id": subject, "message": "x"},
        EffectKind.NOTIFY_MAYOR: {"agent_id": None, "subject": subject, "message": "x"},
        EffectKind.UPDATE_MODEL: {"agent_id": subject},
        EffectKind.SEND_NOTICE: {
            "channel": "desktop",
            "notice": "escalation",
            "severity": "high",
            "title": "x",
            "at": "2026-01-10T12:00:00.000Z",
        },
    }
    return {"town_id": "t1", **required.get(kind, {}), **given}


def an_order(kind: EffectKind, subject: str, generation: int = 1, /, **given: Any) -> Order:
    """Such an order."""
    return wire.read(SHAPES[kind], a_payload(kind, subject, generation, **given))
