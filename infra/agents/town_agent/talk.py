"""One call of a verb: the agent that calls, its clock, the town that it speaks to, and where the answer goes."""

import importlib
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infra.agents.posting import TRIES, Poster, patiently, poster_from
from infra.agents.town_agent import events
from infra.agents.town_agent.order import REPORTED, SPOKE, Caller, caller
from infra.agents.town_agent.verb import Verb, refusal
from shared.adapters import clock as clocks
from shared.adapters.local_supervisor import write_atomically
from shared.domain import times
from shared.ports.clock import Clock

if TYPE_CHECKING:
    from infra.agents.reading import Answer
    from shared.questions.agent_view import Question

Given = Namespace
"""The arguments of a verb, by their keys."""


class Talk:
    """What the functions of verbs work with."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        say: Callable[[str], None],
        note: Callable[[str], None],
        tries: int = TRIES,
    ) -> None:
        """Raises NoOrder if there is no start file, ValueError if the environment names no place to post to.

        `say` takes the answer, `note` what a person or model should know beside it.
        """
        self.caller: Caller = caller(environment)
        self.clock: Clock = clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, ""))
        self.environment = environment
        self.at: Path = Path.cwd()
        self.say = say
        self.note = note
        self._tries = tries
        self._poster: Poster = poster_from(environment, town_id=self.caller.town_id, clock=self.clock)

    def tell(self, *said: events.AgentEvent) -> None:
        """Post events, with retries. Raises NotPosted."""
        patiently(lambda: self._poster.post(said), clock=self.clock, tries=self._tries)

    def tell_once(self, said: events.AgentEvent) -> None:
        """Post an event without retries, because the next event of its kind replaces it. Raises NotPosted."""
        self._poster.post([said])

    def report(self, said: events.AgentEvent) -> None:
        """Post the report that ends a piece of work, and note for the agent's driver that it was acknowledged. Raises NotPosted."""
        self.tell(said)
        reported = {
            "event_type": said["event_type"],
            "event_id": said["event_id"],
            "generation": self.caller.generation,
            "at": times.to_text(self.clock.now()),
        }
        write_atomically(self.caller.place / REPORTED, reported)

    def ask(self, question: "Question", subject: str = "", /, **filters: str | int | None) -> "Answer":
        """The town's answer, cut to what this agent may see. Raises NotRead, and ValueError if there is no way to read."""
        from infra.agents.reading import Asker, reader_from

        who = self.caller
        asker = Asker(who.town_id, who.agent_id, who.generation, who.scope)
        return reader_from(self.environment, asker=asker, clock=self.clock).ask(question, subject, **filters)


def use(verb: Verb, talk: Talk, given: Given) -> None:
    """Do what a verb says. Raises ValueError if it is refused before the town is told, NotPosted if the town does not take it."""
    refused = refusal(verb, talk.caller)
    if refused is not None:
        raise ValueError(refused)
    if verb.name != "waiting":
        (talk.caller.place / SPOKE).touch()
    function_of(verb)(talk, given)


def function_of(verb: Verb) -> Callable[[Talk, Given], None]:
    """The function of a verb, whose module is imported now."""
    module, _, name = verb.path.partition(":")
    function: Callable[[Talk, Given], None] = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    return function
