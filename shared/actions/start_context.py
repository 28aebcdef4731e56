"""The start context: everything that an agent process is given at its start (spec/actions.md section 3), without secrets."""

import json
from typing import Any, Final

from shared.domain.config import effective
from shared.domain.states import BeadType, Label
from shared.town import lookup
from shared.town.rows import Agent, Bead, Rig, text_in
from shared.town.town import Town
from shared.town.writing import reviews

_BY_LABEL: Final = (
    (Label.TRIAGE, "triage"),
    (Label.REWORK, "rework"),
    (Label.PR_FEEDBACK, "pr_feedback"),
    (Label.PR_CONFLICT, "pr_conflict"),
    (Label.PR_FIXUP, "pr_fixup"),
)
_MOST_RIGS: Final = 100
_ON_A_BRANCH: Final = ("rework", "pr_feedback", "pr_conflict", "pr_fixup")

Convoy = tuple[str, str | None, str | None] | None


def start_context(town: Town, agent: Agent, bead: Bead, *, generation: int, rig_id: str | None) -> dict[str, Any]:
    """The payload of the effect dispatch_agent."""
    rig = town.rig(rig_id)
    settings = effective(town.tick.config, None if rig is None else rig.config)
    runtime = town.tick.config.agent_runtime
    source = lookup.source_of(town, bead.id) if bead.type is BeadType.MERGE_REQUEST else None
    convoy = lookup.convoy_of(town, bead.id) or (None if source is None else lookup.convoy_of(town, source.id))
    prompt_kind = _prompt_kind(bead, source)
    return {
        "town_id": town.tick.town_id,
        "organization_id": town.tick.config.organization_id,
        "agent_id": agent.id,
        "role": agent.role.value,
        "identity": agent.identity,
        "generation": generation,
        "runtime": None if runtime is None else runtime.kind,
        "rig": None if rig is None else _shown_rig(rig),
        "bead": _shown_bead(bead),
        "prompt_kind": prompt_kind,
        **_branches(town, bead, prompt_kind, rig_id=rig_id, convoy=convoy),
        "feature_branch": None if convoy is None else convoy[1],
        "merge_strategy": settings.merge_strategy,
        "review_mode": settings.review_mode,
        "gates": list(settings.gates),
        "require_clean_merge": settings.require_clean_merge,
        "git_push_flags": settings.git_push_flags,
        "custom_instructions": settings.custom_instructions,
        "model": settings.model_for(agent.role),
        "checkpoint": _decoded(agent.checkpoint),
    }


def mayor_context(town: Town, mayor: Agent) -> dict[str, Any]:
    """The start context of a mayor's session, for a runtime that must start one to deliver a message.

    A mayor is not dispatched, so its generation does not count its sessions. The tick number does so instead: it grows, so a
    newer session supersedes an older one.
    """
    runtime = town.tick.config.agent_runtime
    settings = effective(town.tick.config, None)
    return {
        "town_id": town.tick.town_id,
        "organization_id": town.tick.config.organization_id,
        "agent_id": mayor.id,
        "role": mayor.role.value,
        "identity": mayor.identity,
        "generation": max(town.tick.number, mayor.generation),
        "runtime": None if runtime is None else runtime.kind,
        "rig": None,
        "rigs": [_shown_rig(rig) for rig in lookup.rigs(town, limit=_MOST_RIGS)],
        "bead": None,
        "prompt_kind": "mayor",
        "custom_instructions": settings.custom_instructions,
        "model": settings.model_for(mayor.role),
    }


def _prompt_kind(bead: Bead, source: Bead | None) -> str:
    for label, kind in _BY_LABEL:
        if label in bead.labels:
            return kind
    if bead.type is not BeadType.MERGE_REQUEST:
        return "work"
    return "landing" if source is not None and source.type is BeadType.CONVOY else "review"


def _branches(town: Town, bead: Bead, prompt_kind: str, *, rig_id: str | None, convoy: Convoy) -> dict[str, str | None]:
    """The branches and the pull request of the work: from the bead or from its review. Without either, only the target is known."""
    if prompt_kind in _ON_A_BRANCH:
        return {key: text_in(bead.metadata, key) for key in ("branch", "target_branch", "pr_url")}
    review = lookup.review(town, bead.id) if bead.type is BeadType.MERGE_REQUEST else None
    if review is not None:
        return {"branch": review.branch, "target_branch": review.target_branch, "pr_url": review.pr_url}
    return {"branch": None, "target_branch": reviews.default_target(town, rig_id, convoy), "pr_url": None}


def _shown_rig(rig: Rig) -> dict[str, str]:
    return {"id": rig.id, "name": rig.name, "git_url": rig.git_url, "default_branch": rig.default_branch}


def _shown_bead(bead: Bead) -> dict[str, Any]:
    return {
        "id": bead.id,
        "type": bead.type.value,
        "title": bead.title,
        "body": bead.body,
        "labels": list(bead.labels),
        "metadata": dict(bead.metadata),
    }


def _decoded(checkpoint: str | None) -> Any:
    """The checkpoint that an agent stored for its successor. Unreadable text counts as no checkpoint."""
    try:
        return None if checkpoint is None else json.loads(checkpoint)
    except ValueError:
        return None
