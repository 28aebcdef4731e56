"""The fence of generations: what the token of an older generation sends changes nothing (spec/events.md 2.1).

A token is made for one generation of an agent, so its holder speaks for that generation only, whatever the event says and
whatever its type is. Only the process of that generation is stopped again, as after every report behind the end of a lease.
What such a generation has spent was spent all the same, so `agent_usage` judges by itself what counts.
"""

from shared.domain.outcomes import MISSING, Skipped
from shared.domain.states import Role
from shared.events.base import Event, EventResult
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import leases

STALE_GENERATION = Skipped("stale generation")
LEASE_OVER = Skipped("its lease is over")


def stopped(event: Event, fact: Fact, town: Town) -> EventResult | None:
    """The result of an event from a generation that may not speak any more; None for all others.

    It is not its agent's newest, its agent is gone, or its lease is over and it does not only report about itself.
    A token without a generation, which only an operator makes by hand, speaks for whatever generation its agent has.
    """
    if fact.generation is None or fact.sender is None or fact.sender.agent is None:
        return None
    agent_id = fact.sender.agent
    agent = lookup.generation_of(town, agent_id)
    if agent is None:
        outcome = MISSING
    elif is_stale(agent.role, agent.generation, fact.generation):
        outcome = STALE_GENERATION
    elif not event.is_own_report and leases.is_over(town, agent_id, agent):
        outcome = LEASE_OVER
    else:
        return None
    if not event.is_farewell and (agent is None or agent.role != Role.MAYOR):
        leases.stop_reporting(town, agent_id, fact.generation)
    return None if event.counts_late else EventResult(outcome)


def is_stale(role: str, newest: int, generation: int) -> bool:
    """Whether another generation than the newest speaks. No dispatch numbers the mayor's sessions, so only older ones are stale."""
    return generation < newest if role == Role.MAYOR else generation != newest
