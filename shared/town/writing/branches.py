"""The branch of a bead: chosen at its first dispatch, kept as long as the bead exists (spec/actions.md section 3)."""

from shared.domain.branches import agent_name, branch_of_bead, digest_of, is_branch_name, is_branch_of
from shared.domain.notes import BranchNotes
from shared.domain.states import BeadType, Label
from shared.town import lookup
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import beads, reviews

_NO_OWN_BRANCH = (Label.TRIAGE, Label.REWORK, Label.PR_FEEDBACK, Label.PR_CONFLICT, Label.PR_FIXUP)


def with_branch(town: Town, agent: Agent, bead: Bead, rig_id: str | None) -> Bead:
    """The bead with its branch noted, if it is work that ends in a review of a branch of its own."""
    if bead.type is not BeadType.ISSUE or any(label in bead.labels for label in _NO_OWN_BRANCH):
        return bead
    stored = BranchNotes.branch.of(bead.metadata)
    if stored is not None and _may_keep(town, bead, stored, rig_id):
        return bead
    branch = branch_of_bead(agent_name(agent.identity or agent.id, agent.role.value), bead.id)
    if lookup.another_works_on(town, bead, rig_id, branch):
        branch = f"{branch}_{digest_of(bead.id)}"
    beads.note(town, bead.id, BranchNotes.branch.to(branch))
    return lookup.bead(town, bead.id) or bead


def target_of(town: Town, bead: Bead, rig_id: str | None) -> str:
    """The branch into which the work of a bead is merged."""
    return reviews.default_target(town, rig_id, lookup.convoy_of(town, bead.id))


def _may_keep(town: Town, bead: Bead, branch: str, rig_id: str | None) -> bool:
    """Whether a branch that the bead has can be its own: a producer may have named one that git refuses or others use."""
    if not is_branch_name(branch) or branch == target_of(town, bead, rig_id):
        return False
    return is_branch_of(bead.id, branch) or not lookup.another_works_on(town, bead, rig_id, branch)
