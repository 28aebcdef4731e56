"""The command `town-agent`: it finds the verb in the table, and runs its function.

The start file that TOWN_AGENT_CONTEXT names identifies the agent and its town. `infra.agents.posting` describes where reports
go, `infra.agents.reading` where answers come from. Exit codes:

    0    done: a report is stored, a question is answered
    1    the town did not answer: try again
    2    wrong usage, or the town refuses it: do not try again
"""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from infra.agents.posting import Refusal
from infra.agents.town_agent import command_line, verbs
from infra.agents.town_agent.order import NoOrder
from infra.agents.town_agent.talk import Talk, use
from shared.domain.quoting import cleaned

OK: Final = 0
NOT_POSTED: Final = 1
REFUSED: Final = 2

_HELP: Final = ("--help", "-h", "help")


def main() -> None:
    """Run town-agent with the arguments of this process."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command. Returns the exit code."""
    if words[:1] == ["git-credential"]:  # no verb: git asks, and an agent that only fetches has not spoken
        from infra.agents.town_agent import git_credential

        return git_credential.run(words[1:], environment)
    if words and words[0] in _HELP:
        print(command_line.help_text(), end="")
        return OK
    found = verbs.named(words)
    if found is None:
        return _complain(command_line.unknown(words), REFUSED)
    verb, rest = found
    try:
        given = command_line.given_in(verb, rest)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else REFUSED
    try:
        talk = Talk(environment, say=partial(print, flush=True), note=partial(print, file=sys.stderr, flush=True))
        use(verb, talk, given)
    except (NoOrder, ValueError) as error:
        return _complain(str(error), REFUSED)
    except Refusal as error:
        return _complain(str(error), REFUSED if error.final else NOT_POSTED)
    return OK


def _complain(problem: str, code: int) -> int:
    print(f"town-agent: {cleaned(problem)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
