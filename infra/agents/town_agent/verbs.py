"""Every verb of `town-agent`, in the order of its help.

To add one, declare it in a tuple of `verbs_of_*.py` that stands in VERBS, and write its function in a module of this package:

    def create(talk: Talk, given: Given) -> None:

The function tells the town something (`talk.tell`) or asks it (`talk.ask`), and says the answer (`talk.say`). It raises ValueError
for wrong usage. The command line, its help and the tool for models follow from the declaration; a test compares the table of
docs/agents/town-agent.md with it.
"""

from collections.abc import Sequence
from typing import Final

from infra.agents.town_agent.verb import Verb
from infra.agents.town_agent.verbs_of_looking import LOOKING
from infra.agents.town_agent.verbs_of_planning import AGENTS, BEADS, CONVOYS
from infra.agents.town_agent.verbs_of_pull_requests import PULL_REQUESTS
from infra.agents.town_agent.verbs_of_work import REPORTS, TOOLS, WORDS

VERBS: Final = (*REPORTS, *WORDS, *BEADS, *CONVOYS, *AGENTS, *LOOKING, *PULL_REQUESTS, *TOOLS)

ALIASES: Final = {
    "bead list": "list beads",
    "convoy list": "list convoys",
    "agent list": "list agents",
    "rig list": "list rigs",
}
"""Other names of the same verbs, as `townctl` has them."""


def named(words: Sequence[str]) -> tuple[Verb, Sequence[str]] | None:
    """The verb with which a command line begins, and the words behind its name; None if it begins with none."""
    for length in (2, 1):
        name = " ".join(words[:length])
        for verb in VERBS:
            if verb.name == ALIASES.get(name, name):
                return verb, words[length:]
    return None
