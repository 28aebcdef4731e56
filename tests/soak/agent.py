"""The demo's agent, which first notes its start: `python -m tests.soak.agent`.

The note is in a file outside of every disk that fails: a line for each start, with town, agent, generation and process.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.agents.town_agent.order import NoOrder, caller
from infra.demo import agent

NOTES_VARIABLE: Final = "SOAK_STARTS"


@dataclass(frozen=True, slots=True)
class Start:
    """A process that was started as one generation of an agent."""

    town: str
    agent: str
    generation: int
    pid: int


def starts(notes: Path) -> tuple[Start, ...]:
    """Every start that was noted, in order."""
    return tuple(Start(**json.loads(line)) for line in notes.read_text().splitlines()) if notes.exists() else ()


def note(notes: Path, start: Start) -> None:
    """Add a line; lines of processes that write at once do not mix."""
    line = json.dumps({"town": start.town, "agent": start.agent, "generation": start.generation, "pid": start.pid})
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def main() -> int:
    """Note the start, then work."""
    try:
        me = caller(os.environ)
        note(Path(os.environ[NOTES_VARIABLE]), Start(me.town_id, me.agent_id, me.generation, os.getpid()))
    except NoOrder as error:
        print(f"soak agent: {error}", file=sys.stderr)
        return 2
    return agent.main()


if __name__ == "__main__":
    sys.exit(main())
