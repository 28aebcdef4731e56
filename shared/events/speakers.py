"""Judges who speaks in an event when it is applied (spec/events.md 4.0): a token names an agent, and only the town knows its role.

Events of operators, of the town itself and without a sender, as programs on the town's own machine post them, pass.
"""

from collections.abc import Mapping
from typing import Final

from shared.domain import notes
from shared.domain.notes import TriageNotes
from shared.domain.outcomes import MISSING, EventOutcome, Rejected
from shared.domain.states import PATROL, SYSTEM, BeadType, Label, Role
from shared.events.base import Event
from shared.town import belonging, lookup
from shared.town.inbox import Fact
from shared.town.rows import Agent, Bead
from shared.town.town import Town

_OF_THE_TOWN: Final = "gt:"
"""The prefix of all labels to which the town gives a meaning."""
_NOT_PROPOSED: Final = (
    "parent_bead_id",
    "assignee_agent_id",
    "depends_on",
    "convoy_id",
    "branch",
    "target_branch",
    "pr_url",
)


def refusal(event: Event, fact: Fact, town: Town) -> EventOutcome | None:
    """Why the holder of this token may not send such an event; None if it may. Raises RowUnreadable."""
    sender = fact.sender
    if sender is None:
        return None
    if sender.scope not in event.senders:
        return Rejected(f"a token of scope {sender.scope} may not send it")
    if not event.mayor_only or sender.agent is None:
        return None
    agent = lookup.agent(town, sender.agent)
    if agent is None:
        return MISSING
    if agent.role is not Role.MAYOR:
        return Rejected("only the mayor and operators may send it")
    about_an_agent = fact.bead_id is not None and belonging.type_of(town, fact.bead_id) == BeadType.AGENT
    return Rejected("only operators change agents") if about_an_agent else None


def triage_refusal(fact: Fact, request_id: str, town: Town) -> EventOutcome | None:
    """Why the holder of this token may not answer a triage request; None if it may: the mayor, and whoever has it in its batch."""
    agent_id = None if fact.sender is None else fact.sender.agent
    if agent_id is None:
        return None
    agent = lookup.agent(town, agent_id)
    if agent is None:
        return MISSING
    if agent.role is Role.MAYOR:
        return None
    batch = lookup.bead(town, agent.hook)
    holds = batch is not None and is_triage_batch(batch) and request_id in TriageNotes.request_ids.of(batch.metadata)
    return None if holds else Rejected("the request is in no batch of this agent")


def is_unknown(fact: Fact, town: Town) -> bool:
    """Whether the token names an agent that the town does not have, such as a deleted one."""
    named = None if fact.sender is None else fact.sender.agent
    return named is not None and lookup.agent(town, named) is None


def worker(fact: Fact, town: Town) -> Agent | None:
    """The agent whose word is only a proposal: the holder of the token, unless it is the mayor.

    An agent on the town's own machine needs no token; what it says under its id counts no more. None for everybody else.
    """
    named = fact.agent_id if fact.sender is None else fact.sender.agent
    agent = lookup.agent(town, named)
    return None if agent is None or agent.role is Role.MAYOR else agent


def not_proposed(bead: Mapping[str, object]) -> str | None:
    """The field of a new bead that a proposal must not have; None if it is a plain issue."""
    if bead.get("type") != "issue":
        return "type"
    given = next((field for field in _NOT_PROPOSED if bead.get(field) not in (None, [], ())), None)
    if given is not None:
        return given
    labels, metadata = bead.get("labels"), bead.get("metadata")
    known = labels if isinstance(labels, list | tuple) else ()
    if any(isinstance(label, str) and label.startswith(_OF_THE_TOWN) and label != Label.HELD for label in known):
        return "labels"
    reserved = isinstance(metadata, Mapping) and any(key in notes.RESERVED for key in metadata)
    return "metadata" if reserved else None


def named(fact: Fact, said: str | None) -> str | None:
    """Who did it: the agent of the token, whatever the payload says; else the name in the payload, or the agent of the envelope."""
    holder = None if fact.sender is None else fact.sender.agent
    return holder or said or fact.agent_id


def by(fact: Fact, said: str | None) -> str:
    """As `named`, for places that need a name: the town itself, if there is none."""
    return named(fact, said) or SYSTEM


def is_triage_batch(bead: Bead) -> bool:
    """Whether the town made this bead to have triage requests answered. A label alone does not say so."""
    return Label.TRIAGE in bead.labels and bead.created_by == PATROL
