"""Performs the effect verify_merge: one check whether the target branch contains a merge (decision T2)."""

from shared.domain.orders import VerifyOrder
from shared.domain.report import ClaimedEffect
from shared.ports.forge import Asker, ForgeError, MergeClaim, MergeProver
from shared.runner.forge_effects import shown_error
from shared.runner.result_events import Result, failure, short, success


def verify(effect: ClaimedEffect, prover: MergeProver | None) -> Result:
    """Look once. Without a prover nobody can tell."""
    order = effect.order(VerifyOrder)
    if prover is None:
        return success(says="nothing is configured that could look at the repository")
    claim = MergeClaim(
        git_url=order.git_url,
        target_branch=order.target_branch,
        branch=order.branch,
        head=order.head,
        base=order.base,
        merge_commit=order.merge_commit,
    )
    answer = prover.proof(Asker(order.town_id, order.rig_id, order.rig_host), claim)
    if isinstance(answer, ForgeError):
        return failure(error=shown_error(answer))
    said = {"contained": answer.contained, "sha": answer.sha, "says": short(answer.says)}
    return success(**{name: value for name, value in said.items() if value is not None})
