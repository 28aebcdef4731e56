"""Events about beads: created and updated (spec/events.md 4.3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.domain import notes
from shared.domain.notes import BeadNotes, BranchNotes, Metadata, ReviewNotes
from shared.domain.outcomes import EXISTS, MISSING, TAKEN, TERMINAL, Applied, EventOutcome, Rejected
from shared.domain.states import BeadType, Label, Role, Scope
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
from shared.town.rows import Bead
from shared.town.town import Town
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
    senders = frozenset({"coordinator", "container", "operator"})

    bead: GivenBead

    @classmethod
    def forbidden(cls, payload: Mapping[str, object], scope: Scope) -> str | None:
        """Only people create merge requests: a program could have the town merge any pull request through one."""
        bead = payload.get("bead")
        is_review = isinstance(bead, dict) and bead.get("type") == BeadType.MERGE_REQUEST
        return "bead.type" if is_review and scope != "operator" else None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Create the bead with its edges and, for a merge request, its review; or skip or reject all of it."""
        refusal = self._refused_sender(fact, town) or self._refusal(fact, town)
        if refusal is not None:
            return EventResult(refusal)
        self._create(fact, town)
        return EventResult(Applied())

    def _refused_sender(self, fact: Fact, town: Town) -> EventOutcome | None:
        """An agent on this machine needs no token; it creates no merge request all the same."""
        if self.bead.type != BeadType.MERGE_REQUEST or lookup.agent(town, fact.agent_id) is None:
            return None
        return Rejected("only operators create merge requests")

    def _refusal(self, fact: Fact, town: Town) -> EventOutcome | None:
        given = self.bead
        if (there := lookup.creator_of(town, given.bead_id)) is not None:
            return EXISTS if there.by == (given.created_by or fact.agent_id) else TAKEN
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

    def _create(self, fact: Fact, town: Town) -> None:
        given = self.bead
        labels = given.labels
        if given.babysat and Label.BABYSIT not in labels:
            labels = (*labels, Label.BABYSIT)
        blockers = self._blockers(town)
        beads.create(
            town,
            beads.NewBead(
                id=given.bead_id,
                type=BeadType(given.type),
                title=given.title,
                body=given.body,
                rig_id=given.rig_id,
                parent_id=given.parent_bead_id,
                assignee=self._addressee(town),
                priority=given.priority or "medium",
                labels=labels,
                metadata=self._metadata(blockers),
                created_by=given.created_by or fact.agent_id,
            ),
        )
        convoy = lookup.bead(town, given.convoy_id)
        if convoy is not None:
            membership.join(town, given.bead_id, convoy)
        for blocker in blockers:
            beads.add_edge(town, given.bead_id, blocker, "blocks")
        if given.type == BeadType.MERGE_REQUEST:
            self._create_review(town)

    def _addressee(self, town: Town) -> str | None:
        """The agent that a message is for. `mayor` names whoever is the mayor, as no name does."""
        given = self.bead.assignee_agent_id
        if given != Role.MAYOR or lookup.agent(town, given) is not None:
            return given
        mayor = lookup.mayor(town)
        return None if mayor is None else mayor.id

    def _metadata(self, blockers: Sequence[str]) -> Metadata:
        """The given metadata, with the dependencies that do not exist yet, the pull request and, except for a merge request,
        the branches. The start context of a fix-up reads them here.
        """
        given = self.bead
        missing = tuple(other for other in dict.fromkeys(given.depends_on) if other not in blockers)
        said = [BranchNotes.pr_url.to(given.pr_url), BeadNotes.awaits.to(missing) if missing else BeadNotes.awaits.gone]
        if given.type != BeadType.MERGE_REQUEST:
            said += [BranchNotes.branch.to(given.branch), BranchNotes.target_branch.to(given.target_branch)]
        told = {key: value for key, value in (given.metadata or {}).items() if key != BeadNotes.awaits.name}
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


class BeadUpdated(Event):
    """Somebody asked to change a bead."""

    event_type = "bead_updated"
    needs = ("bead_id",)
    senders = frozenset({"coordinator", "container", "operator"})

    title: FreeText | None = None
    body: BodyText | None = None
    priority: PriorityName | None = None
    labels: Texts | None = None
    metadata: JsonObject | None = None
    rig_id: IdText | None = None

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
            audit.record(town, bead.id, "fields_updated", agent_id=fact.agent_id, metadata={"fields": changed})
        return EventResult(Applied())

    def _replacements(self, bead: Bead) -> dict[str, Any]:
        given = {
            "title": self.title,
            "body": self.body,
            "priority": self.priority,
            "labels": self.labels,
            "rig_id": self.rig_id if _may_be_given_a_rig(bead) else None,
        }
        return {name: value for name, value in given.items() if value is not None}


def _may_be_given_a_rig(bead: Bead) -> bool:
    """Whether a bead may get a rig: it has none, and is neither an agent nor a convoy."""
    return bead.rig_id is None and bead.type not in (BeadType.AGENT, BeadType.CONVOY)
