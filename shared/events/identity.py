"""Whether the pull request that a poll has seen is the one that was agreed (spec/actions.md section 5).

The id of the rig's repository is read from its git_url and stored; a pull request is only compared with it, never believed.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from shared.actions import NotifyMayor
from shared.actions.base import Action
from shared.domain import limits
from shared.domain.branches import without_ref
from shared.domain.identities import Difference, differences, of_pin
from shared.domain.notes import BeadNotes, EscalationNotes, Metadata, ReviewNotes
from shared.domain.orders import ExpectedIdentity
from shared.domain.quoting import block, line
from shared.domain.repositories import name_of
from shared.domain.states import Label
from shared.domain.times import to_text
from shared.events.forge import IdentitySeen, RepositorySeen
from shared.events.polled import Polled
from shared.town import lookup
from shared.town.rows import Bead, Rig
from shared.town.writing import beads, escalations, reviews, rigs
from shared.town.writing.beads import Failure

Kind = Literal["ours", "not_known", "wrong_repository", "wrong_base", "other"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a poll says about the identity of a pull request. `says` is a clause for people, `differs` the field that differs."""

    kind: Kind
    says: str = ""
    differs: Difference | None = None


OURS: Final = Verdict("ours")
NOT_KNOWN: Final = Verdict("not_known")
"""It could not be compared: nothing is judged by it, and nothing is merged because of it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The part of a poll's answer that is about repositories, and what was asked."""

    is_over: bool
    identity: IdentitySeen | None
    rig_repository: RepositorySeen | None
    rig_problem: str | None
    upstream: RepositorySeen | None
    asked_rig: str | None


def is_forked(metadata: Metadata) -> bool:
    """Whether a babysat pull request comes from a fork: the town polls it, does no work on it, and never merges it."""
    pinned = ReviewNotes.pinned.of(metadata)
    return pinned is not None and pinned.get("head_repository") != pinned.get("base_repository")


def judged(about: Polled, answered: Answered) -> Verdict:
    """Compare the pull request with what was agreed: with the rig's repository and branches, or with the pin of a babysat one."""
    seen, rig = answered.identity, about.town.rig(about.bead.rig_id)
    if seen is None or rig is None:
        return NOT_KNOWN
    stored, problem = _repository_of_rig(about, rig, answered)
    if problem is not None and not (answered.is_over and stored is not None):
        return Verdict("wrong_repository", problem)
    if stored is None:
        return NOT_KNOWN
    bases = [stored] if answered.upstream is None else [stored, answered.upstream.id]
    if seen.base_repository.id not in bases:
        if about.settings.upstream is not None and answered.upstream is None:
            return NOT_KNOWN
        found = Difference("base_repository", stored, seen.base_repository.id)
        return _verdict(about, found, is_over=answered.is_over)
    wanted = _pinned(about, seen) if about.babysat else _agreed(about, stored, seen.base_repository.id)
    is_from_fork = about.babysat or seen.base_repository.id != stored
    if answered.is_over and seen.head_repository is None and is_from_fork:
        # The fork was deleted afterwards. A branch of the rig's own repository cannot lose its repository.
        wanted = replace(wanted, head_repository=None)
    found_all = differences(wanted, _plain(seen))
    return _verdict(about, found_all[0], is_over=answered.is_over) if found_all else OURS


def _verdict(about: Polled, found: Difference, *, is_over: bool) -> Verdict:
    if found.field == "base_branch":
        return Verdict("wrong_base", found.says, found)
    if about.babysat and found.field == "base_repository":
        return OURS if is_over else Verdict("wrong_repository", found.says, found)
    return Verdict("other", found.says, found)


def _repository_of_rig(about: Polled, rig: Rig, answered: Answered) -> tuple[str | None, str | None]:
    """The id of the rig's repository, and why that is not what its git_url leads to. The id is stored when it is first seen."""
    named = name_of(rig.git_url)
    if named is None:
        return rig.forge_repository_id, "the rig's git_url names no repository of a forge"
    if answered.asked_rig != named:
        return rig.forge_repository_id, None
    if answered.rig_problem is not None:
        return rig.forge_repository_id, f"the rig's git_url leads to no repository: {answered.rig_problem}"
    seen = answered.rig_repository
    if seen is None:
        return rig.forge_repository_id, None
    if rig.forge_repository_id is None:
        rigs.pin_repository(about.town, rig.id, seen.id)
        return seen.id, None
    if seen.id != rig.forge_repository_id:
        says = f"the rig's git_url leads to repository {seen.id}, and the rig worked in {rig.forge_repository_id}"
        return rig.forge_repository_id, says
    return seen.id, None


def _agreed(about: Polled, repository: str, base: str) -> ExpectedIdentity:
    return ExpectedIdentity(
        head_repository=repository,
        head_branch=without_ref(about.review.branch),
        base_repository=base,
        base_branch=without_ref(about.review.target_branch),
    )


def _pinned(about: Polled, seen: IdentitySeen) -> ExpectedIdentity:
    """The pin of a babysat pull request. Its first poll makes it, if that shows the branch that people named with the URL."""
    # Nobody ordered this pull request, so its first look would be the only word there is. A wrong URL, or
    # an answer about another pull request, shows another branch than the one that was named.
    pinned = ReviewNotes.pinned.of(about.bead.metadata)
    named = without_ref(about.review.branch)
    if pinned is None and without_ref(seen.head_branch) != named:
        return ExpectedIdentity(head_branch=named)
    if pinned is None:
        pinned = {
            "head_repository": None if seen.head_repository is None else seen.head_repository.id,
            "head_branch": without_ref(seen.head_branch),
            "base_repository": seen.base_repository.id,
            "base_branch": without_ref(seen.base_branch),
        }
        about.note(ReviewNotes.pinned.to(pinned))
    return of_pin(pinned)


def _plain(seen: IdentitySeen) -> IdentitySeen:
    return seen.model_copy(
        update={"head_branch": without_ref(seen.head_branch), "base_branch": without_ref(seen.base_branch)}
    )


# What follows


def ask_to_retarget(about: Polled) -> bool:
    """Have an agent change the base of the pull request, once; False if that was done and the base is still wrong."""
    town, review_id = about.town, about.bead.id
    if any(blocker.live for blocker in lookup.unresolved_blockers(town, review_id)):
        return True
    asked = ReviewNotes.retarget_asked.of(about.bead.metadata)
    if asked or lookup.children_with_label(town, review_id, Label.PR_FEEDBACK) >= limits.FEEDBACK_BEAD_CAP:
        return False
    about.note(ReviewNotes.retarget_asked.to(True))
    about.append(
        "pr_feedback_detected",
        branch=about.review.branch,
        has_unresolved_comments=False,
        has_failing_checks=False,
        has_unchecked_runs=False,
        retarget_to=without_ref(about.review.target_branch),
    )
    return True


def claim_merge_elsewhere(about: Polled, verdict: Verdict, *, sha: str | None, head_sha: str | None) -> None:
    """It was merged into another branch than agreed: whether the target contains it all the same must be proven."""
    if ReviewNotes.merge_claim.of(about.bead.metadata) is not None or verdict.differs is None:
        return
    claim = {"commit": sha, "head": head_sha, "into": verdict.differs.found, "at": to_text(about.town.tick.now)}
    about.note(ReviewNotes.merge_claim.to({key: value for key, value in claim.items() if value is not None}))


def fail(about: Polled, verdict: Verdict) -> tuple[Action, ...]:
    """End a review whose pull request is not the agreed one. Its source is opened again with a note; a person is told once."""
    says = f"The pull request {about.pr_url} is not the one of this review: {verdict.says}."
    failure = Failure("pr_mismatch", says, "review")
    source = lookup.source_of(about.town, about.bead.id)
    reviews.complete(about.town, about.bead.id, "failed", message=says, failure=failure)
    # The pull request belongs to somebody else, so it is not one that the town has abandoned.
    about.note(BeadNotes.failure_kind.to("pr_mismatch"), ReviewNotes.abandoned.gone)
    about.announce("pr.mismatch", message=says)
    if source is None or not source.live:
        return ()
    branch, target = without_ref(about.review.branch), without_ref(about.review.target_branch)
    beads.leave_note(
        about.town, source.id, f"{says} Push {branch}, open a pull request from it into {target}, and report that one."
    )
    return _tell_once(about, source, says)


def _tell_once(about: Polled, source: Bead, says: str) -> tuple[Action, ...]:
    title = f"Another pull request was reported: {source.title}"
    made = escalations.escalate_once(
        about.town,
        f"pr_mismatch:{source.id}",
        title,
        category="pr_mismatch",
        body=says,
        rig_id=about.bead.rig_id,
        about=(EscalationNotes.pr_url.to(about.pr_url),),
    )
    if made is None:
        return ()
    return (NotifyMayor(subject=f"escalation:{made}", message=f"Escalation (high): {line(title)}\n{block(says)}"),)
