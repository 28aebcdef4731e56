"""The start context: everything that an agent process is given at its start (spec/actions.md section 3), without secrets."""

from typing import Final, NamedTuple

from shared.domain import strict_json
from shared.domain.config import EffectiveSettings, effective
from shared.domain.merge_path import MergePath, Piece, merge_path
from shared.domain.notes import BeadNotes, BranchNotes, Metadata, ReviewNotes
from shared.domain.orders import OrderedBead, OrderedRig, StartOrder
from shared.domain.states import BeadType, Label, MergeMode
from shared.town import lookup
from shared.town.rows import Agent, Bead, Rig
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


def start_context(town: Town, agent: Agent, bead: Bead, *, generation: int, rig_id: str | None) -> StartOrder:
    """The order of the effect dispatch_agent."""
    rig = town.rig(rig_id)
    settings = effective(town.tick.config, None if rig is None else rig.config)
    runtime = town.tick.config.agent_runtime
    source = lookup.source_of(town, bead.id) if bead.type is BeadType.MERGE_REQUEST else None
    asked_for = source if source is not None else _changed_by(town, bead)
    convoy = lookup.convoy_of(town, bead.id) or (None if source is None else lookup.convoy_of(town, source.id))
    prompt_kind = _prompt_kind(bead, source)
    branches = _branches(town, bead, prompt_kind, rig_id=rig_id, convoy=convoy)
    path = _path(bead, branches, prompt_kind, settings=settings, convoy=convoy)
    return StartOrder(
        town_id=town.tick.town_id,
        organization_id=town.tick.config.organization_id,
        agent_id=agent.id,
        role=agent.role,
        identity=agent.identity,
        generation=generation,
        runtime=None if runtime is None else runtime.kind,
        rig=None if rig is None else _ordered_rig(rig),
        bead=_ordered_bead(bead),
        prompt_kind=prompt_kind,
        branch=branches.branch,
        target_branch=branches.target_branch,
        pr_url=branches.pr_url,
        feature_branch=None if convoy is None else convoy[1],
        merge_strategy=settings.merge_strategy,
        code_review=settings.code_review,
        review_mode=settings.review_mode,
        convoy_merge_mode=None if convoy is None else convoy[2] or MergeMode.REVIEW_THEN_LAND.value,
        opens_pr_into=path.opens_pr_into,
        merges_into=path.merges_into,
        asks_changes_by=path.asks_changes_by,
        upstream=settings.upstream,
        gates=settings.gates,
        require_clean_merge=settings.require_clean_merge,
        git_push_flags=settings.git_push_flags,
        custom_instructions=settings.custom_instructions,
        model=settings.model_for(agent.role),
        checkpoint=_decoded(agent.checkpoint),
        source=None if asked_for is None else _asked_for(asked_for),
        previous_attempt=_previous_attempt(bead, source),
    )


def mayor_context(town: Town, mayor: Agent) -> StartOrder:
    """The start context of a mayor's session, for a runtime that must start one to deliver a message.

    A mayor is not dispatched, so its generation does not count its sessions. The tick number does so instead: it grows, so a
    newer session supersedes an older one.
    """
    runtime = town.tick.config.agent_runtime
    settings = effective(town.tick.config, None)
    return StartOrder(
        town_id=town.tick.town_id,
        organization_id=town.tick.config.organization_id,
        agent_id=mayor.id,
        role=mayor.role,
        identity=mayor.identity,
        generation=max(town.tick.number, mayor.generation),
        runtime=None if runtime is None else runtime.kind,
        rigs=tuple(_ordered_rig(rig) for rig in lookup.rigs(town, limit=_MOST_RIGS)),
        prompt_kind="mayor",
        custom_instructions=settings.custom_instructions,
        model=settings.model_for(mayor.role),
    )


def _changed_by(town: Town, follow_up: Bead) -> Bead | None:
    """The bead whose work a follow-up of its review changes."""
    review_id = BranchNotes.mr_bead_id.of(follow_up.metadata)
    return None if review_id is None else lookup.source_of(town, review_id)


def _asked_for(source: Bead) -> OrderedBead:
    """What was asked for. Its labels and metadata are no part of that."""
    return OrderedBead(id=source.id, type=source.type.value, title=source.title, body=source.body)


def _previous_attempt(bead: Bead, source: Bead | None) -> str | None:
    """What the town noted for the next agent, and the last words of the one before."""
    told = (_note_for_next(bead) or _note_of_convoy(source), _last_words(bead))
    return "\n\n".join(text for text in told if text is not None) or None


def _last_words(bead: Bead) -> str | None:
    text = _text_of(BeadNotes.last_words.of(bead.metadata))
    return None if text is None else f"The agent of the last attempt ended before it was done. It said why: {text}"


def _note_for_next(bead: Bead) -> str | None:
    return _text_of(BeadNotes.note_for_next.of(bead.metadata))


def _text_of(note: Metadata | None) -> str | None:
    text = None if note is None else note.get("text")
    return text if isinstance(text, str) and text else None


def _note_of_convoy(source: Bead | None) -> str | None:
    """What the agent of a landing must know of the landing before, which was another merge request of the convoy."""
    return _note_for_next(source) if source is not None and source.type is BeadType.CONVOY else None


def _prompt_kind(bead: Bead, source: Bead | None) -> str:
    for label, kind in _BY_LABEL:
        if label in bead.labels:
            return kind
    if bead.type is not BeadType.MERGE_REQUEST:
        return "work"
    return "landing" if source is not None and source.type is BeadType.CONVOY else "review"


class _Branches(NamedTuple):
    branch: str | None
    target_branch: str | None
    pr_url: str | None


def _branches(town: Town, bead: Bead, prompt_kind: str, *, rig_id: str | None, convoy: Convoy) -> _Branches:
    """The branches and the pull request of the work: from the bead or from its review. New work has its own branch, and no more."""
    if prompt_kind in _ON_A_BRANCH:
        return _Branches(
            BranchNotes.branch.of(bead.metadata),
            BranchNotes.target_branch.of(bead.metadata),
            BranchNotes.pr_url.of(bead.metadata),
        )
    review = lookup.review(town, bead.id) if bead.type is BeadType.MERGE_REQUEST else None
    if review is not None:
        return _Branches(review.branch, review.target_branch, review.pr_url)
    own = BranchNotes.branch.of(bead.metadata) if prompt_kind == "work" else None
    return _Branches(own, reviews.default_target(town, rig_id, convoy), None)


def _path(
    bead: Bead, branches: _Branches, prompt_kind: str, *, settings: EffectiveSettings, convoy: Convoy
) -> MergePath:
    """Who opens a pull request or merges. The closed pull request of a review that was reopened is none."""
    is_closed = ReviewNotes.pr_closed.of(bead.metadata)
    piece = Piece(
        prompt_kind=prompt_kind,
        target_branch=branches.target_branch,
        is_part=prompt_kind != "landing" and convoy is not None and convoy[1] == branches.target_branch,
        has_pull_request=branches.pr_url is not None and not is_closed,
    )
    return merge_path(
        piece,
        merge_strategy=settings.merge_strategy,
        code_review=settings.code_review,
        review_mode=settings.review_mode,
    )


def _ordered_rig(rig: Rig) -> OrderedRig:
    return OrderedRig(id=rig.id, name=rig.name, git_url=rig.git_url, default_branch=rig.default_branch)


def _ordered_bead(bead: Bead) -> OrderedBead:
    return OrderedBead(
        id=bead.id, type=bead.type.value, title=bead.title, body=bead.body, labels=bead.labels, metadata=bead.metadata
    )


def _decoded(checkpoint: str | None) -> object:
    """The checkpoint that an agent stored for its successor. Unreadable text counts as no checkpoint."""
    try:
        return None if checkpoint is None else strict_json.stored(checkpoint)
    except ValueError:
        return None
