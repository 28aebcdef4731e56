"""Events about beads: created and updated (spec/events.md 4.3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.domain import notes
from shared.domain.ids import looks_derived
from shared.domain.notes import BeadNotes, BranchNotes, Metadata, ReviewNotes
from shared.domain.outcomes import EXISTS, MISSING, TAKEN, TERMINAL, Applied, EventOutcome, Rejected
from shared.domain.states import BeadType, Label, Role, Scope
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.fields import (
    BodyText,
    FreeText,
    HttpsUrl,
    Ids,
    IdText,
    JsonObject,
    NonEmptyText,
    Part,
    PriorityName,
    Texts,
)
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.rows import Agent, Bead
from shared.town.town import Proposal, Town
from shared.town.writing import audit, beads, membership, reviews, rigs

CREATABLE: Final = (BeadType.ISSUE, BeadType.MESSAGE, BeadType.MERGE_REQUEST, BeadType.MOLECULE)


class GivenBead(Part):
    """The bead as its producer describes it."""

    bead_id: IdText
    type: FreeText
    title: FreeText
    body: BodyText | None = None
    rig_id: IdText | None = None
    priority: PriorityName | None = None
    labels: Texts = ()
    metadata: JsonObject | None = None
    parent_bead_id: IdText | None = None
    assignee_agent_id: IdText | None = None
    created_by: FreeText | None = None
    depends_on: Ids = ()
    convoy_id: IdText | None = None
    branch: NonEmptyText | None = None
    target_branch: NonEmptyText | None = None
    pr_url: HttpsUrl | None = None

    @property
    def babysat(self) -> bool:
        """Whether this is a merge request for an existing pull request, which is babysat."""
        return self.type == BeadType.MERGE_REQUEST and ReviewNotes.babysit.of(self.metadata or {})


class BeadCreated(Event):
    """Somebody asked for a new bead."""

    event_type = "bead_created"
    senders = frozenset({"agent", "coordinator", "operator"})

    asks = (
        "a polecat proposes a plain issue of its own rig: without convoy, parent, dependencies, assignee, branches and labels of "
        "the town; the mayor decides about it, and only an operator creates a merge request"
    )

    bead: GivenBead

    @classmethod
    def forbidden(cls, payload: Mapping[str, object], scope: Scope) -> str | None:
        """Agents only propose issues, and only people create merge requests: through one, the town merges a pull request."""
        bead = payload.get("bead")
        if not isinstance(bead, dict):
            return None
        if scope == "agent":
            wrong = speakers.not_proposed(bead)
            return None if wrong is None else f"bead.{wrong}"
        return "bead.type" if bead.get("type") == BeadType.MERGE_REQUEST and scope != "operator" else None

    @property
    def creates(self) -> int:
        """One bead."""
        return 1

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Create the bead with its edges and, for a merge request, its review; or skip or reject all of it."""
        if speakers.is_unknown(fact, town):
            return EventResult(MISSING)
        worker = speakers.worker(fact, town)
        refusal = self._refused_sender(fact, town) or self._refused_proposal(worker, town) or self._refusal(fact, town)
        if refusal is not None:
            return EventResult(refusal)
        self._create(fact, town, worker)
        return EventResult(Applied())

    def _refused_sender(self, fact: Fact, town: Town) -> EventOutcome | None:
        """An agent on this machine needs no token; it creates no merge request all the same."""
        if self.bead.type != BeadType.MERGE_REQUEST or lookup.agent(town, _speaker(fact)) is None:
            return None
        return Rejected("only operators create merge requests")

    def _refused_proposal(self, agent: Agent | None, town: Town) -> EventOutcome | None:
        if agent is None:
            return None
        if agent.role is not Role.POLECAT:
            return Rejected("only a polecat proposes beads")
        wrong = speakers.not_proposed(self.bead.model_dump())
        if wrong is not None:
            return Rejected(f"an agent does not choose bead.{wrong}")
        if agent.rig_id is None or self.bead.rig_id not in (None, agent.rig_id):
            return Rejected("another rig than the agent's")
        # whoever made the bead that others wait for would decide when they go on
        return Rejected("other beads wait for this id") if lookup.awaiting(town, self.bead.bead_id) else None

    def _refusal(self, fact: Fact, town: Town) -> EventOutcome | None:
        given = self.bead
        if (there := lookup.creator_of(town, given.bead_id)) is not None:
            return EXISTS if there.by == speakers.named(fact, given.created_by) else TAKEN
        if given.type not in CREATABLE:
            return Rejected("a bead of this type is not created by an event")
        if given.rig_id is not None and not rigs.exists(town, given.rig_id):
            return Rejected("unknown rig")
        if given.parent_bead_id is not None and not lookup.exists(town, given.parent_bead_id):
            return Rejected("unknown parent")
        if given.type == BeadType.MERGE_REQUEST and given.branch is None:
            return Rejected("a merge request needs a branch")
        return self._refused_edge(town) or self._refused_assignee(town)

    def _refused_edge(self, town: Town) -> EventOutcome | None:
        given = self.bead
        if given.convoy_id is not None and not lookup.is_convoy(town, given.convoy_id):
            return MISSING
        if given.bead_id in given.depends_on:
            return Rejected("it depends on itself")
        if any(beads.closes_cycle(town, given.bead_id, other) for other in self._blockers(town)):
            return Rejected("cycle")
        if given.convoy_id is not None and any(
            beads.closes_cycle(town, given.convoy_id, other)
            for other in self._blockers(town)
            if other != given.convoy_id
        ):
            return Rejected("cycle: it would wait for its own convoy")
        return None

    def _refused_assignee(self, town: Town) -> EventOutcome | None:
        given = self.bead
        if given.assignee_agent_id is None:
            return None
        if given.type != BeadType.MESSAGE:
            return Rejected("only a message is created with an assignee")
        if given.assignee_agent_id == Role.MAYOR:
            return None
        return MISSING if lookup.agent(town, given.assignee_agent_id) is None else None

    def _blockers(self, town: Town) -> list[str]:
        """The dependencies that exist, each once, in the given order."""
        return [other for other in dict.fromkeys(self.bead.depends_on) if lookup.exists(town, other)]

    def _create(self, fact: Fact, town: Town, worker: Agent | None) -> None:
        given = self.bead
        blockers = self._blockers(town)
        beads.create(
            town,
            beads.NewBead(
                id=given.bead_id,
                type=BeadType(given.type),
                title=given.title,
                body=given.body,
                rig_id=given.rig_id if worker is None else worker.rig_id,
                parent_id=given.parent_bead_id,
                assignee=self._addressee(town),
                priority=given.priority or "medium",
                labels=self._labels(worker),
                metadata=self._metadata(blockers, trusted=lookup.agent(town, _speaker(fact)) is None),
                created_by=speakers.named(fact, given.created_by) if worker is None else worker.id,
            ),
        )
        convoy = lookup.bead(town, given.convoy_id)
        if convoy is not None:
            membership.join(town, given.bead_id, convoy)
        for blocker in blockers:
            beads.add_edge(town, given.bead_id, blocker, "blocks")
        if given.type == BeadType.MERGE_REQUEST:
            self._create_review(town)
        if worker is not None:
            town.proposals.append(Proposal(given.bead_id, given.title, given.priority or "medium", worker.id))

    def _labels(self, worker: Agent | None) -> tuple[str, ...]:
        """The given labels. A babysat merge request is labelled as one, and a proposal is held until somebody decides about it."""
        labels = self.bead.labels
        added = Label.HELD if worker is not None else Label.BABYSIT if self.bead.babysat else None
        return labels if added is None or added in labels else (*labels, added)

    def _addressee(self, town: Town) -> str | None:
        """The agent that a message is for. `mayor` names whoever is the mayor, as no name does."""
        given = self.bead.assignee_agent_id
        if given != Role.MAYOR or lookup.agent(town, given) is not None:
            return given
        mayor = lookup.mayor(town)
        return None if mayor is None else mayor.id

    def _metadata(self, blockers: Sequence[str], *, trusted: bool) -> Metadata:
        """The given metadata, with the dependencies that do not exist yet, the pull request and, except for a merge request,
        the branches. The start context of a fix-up reads them here. Only people write the keys that belong to the town.
        """
        given = self.bead
        missing = tuple(other for other in dict.fromkeys(given.depends_on) if other not in blockers)
        said = [
            BranchNotes.pr_url.to(given.pr_url),
            BeadNotes.chosen_id.to(True) if looks_derived(given.bead_id) else BeadNotes.chosen_id.gone,
            BeadNotes.awaits.to(missing) if missing else BeadNotes.awaits.gone,
        ]
        if given.type != BeadType.MERGE_REQUEST:
            said += [BranchNotes.branch.to(given.branch), BranchNotes.target_branch.to(given.target_branch)]
        kept = frozenset({BeadNotes.awaits.name, BeadNotes.chosen_id.name}) if trusted else notes.RESERVED
        told = {key: value for key, value in (given.metadata or {}).items() if key not in kept}
        return {**told, **notes.known(said)}

    def _create_review(self, town: Town) -> None:
        given = self.bead
        rig = town.rig(given.rig_id)
        default_branch = "main" if rig is None else rig.default_branch
        reviews.create_metadata(
            town,
            given.bead_id,
            branch=given.branch or "",
            target_branch=given.target_branch or default_branch,
            pr_url=given.pr_url,
        )
        if given.babysat:
            audit.record(town, given.bead_id, "babysit_started", new=given.pr_url)


def _speaker(fact: Fact) -> str | None:
    """The agent that speaks: the holder of the token; without one, the agent of the envelope."""
    return fact.agent_id if fact.sender is None else fact.sender.agent


class BeadUpdated(Event):
    """Somebody asked to change a bead."""

    event_type = "bead_updated"
    needs = ("bead_id",)
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    title: FreeText | None = None
    body: BodyText | None = None
    priority: PriorityName | None = None
    labels: Texts | None = None
    remove_labels: Texts = ()
    metadata: JsonObject | None = None
    rig_id: IdText | None = None
    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Replace the given fields of a live bead. Metadata is merged key by key; null removes a key."""
        bead = lookup.bead(town, fact.bead_id)
        if bead is None:
            return EventResult(MISSING)
        if not bead.live:
            return EventResult(TERMINAL)
        values = self._replacements(bead)
        if "rig_id" in values and not rigs.exists(town, values["rig_id"]):
            return EventResult(Rejected("unknown rig"))
        metadata = {key: value for key, value in (self.metadata or {}).items() if key not in notes.RESERVED}
        beads.set_fields(town, bead.id, values)
        beads.set_metadata(town, bead.id, metadata)
        changed = [*sorted(values), *(f"metadata.{key}" for key in sorted(metadata))]
        if changed:
            about: dict[str, object] = {"fields": changed}
            if "labels" in values:
                about["held"] = Label.HELD in values["labels"]
            audit.record(town, bead.id, "fields_updated", agent_id=speakers.named(fact, self.by), metadata=about)
        return EventResult(Applied())

    def _replacements(self, bead: Bead) -> dict[str, Any]:
        given = {
            "title": self.title,
            "body": self.body,
            "priority": self.priority,
            "labels": self._labels(bead),
            "rig_id": self.rig_id if _may_be_given_a_rig(bead) else None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def _labels(self, bead: Bead) -> tuple[str, ...] | None:
        """The new labels: those given, or the present ones, without the removed ones; None if nothing is said about labels."""
        if self.labels is None and not self.remove_labels:
            return None
        return tuple(
            label for label in (bead.labels if self.labels is None else self.labels) if label not in self.remove_labels
        )


def _may_be_given_a_rig(bead: Bead) -> bool:
    """Whether a bead may get a rig: it has none, and is neither an agent nor a convoy."""
    return bead.rig_id is None and bead.type not in (BeadType.AGENT, BeadType.CONVOY)
