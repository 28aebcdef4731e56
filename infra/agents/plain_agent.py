"""A plain agent: `python -m infra.agents.plain_agent`. It uses only its start file, git and `town-agent`.

It shows the least that an agent CLI, in any language, has to do:

    as a polecat     it slowly writes a file, line by line, and continues the file of an evicted predecessor
    as a refinery    it merges
    as the mayor     it reads its messages, answers those of people, and waits

TOWN_AGENT_CLI is the command that calls `town-agent`. TOWN_AGENT_PACE is the time per line, in seconds of the town's clock.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from shared.adapters import clock as clocks
from shared.adapters import outside_files
from shared.adapters.local_state import segment
from shared.domain import wire
from shared.domain.orders import OrderedBead, OrderedRig, StartOrder
from shared.domain.states import Role

LINES: Final = 6
_GIT: Final = ("-c", "user.name=Plain", "-c", "user.email=plain@town.invalid", "-c", "core.hooksPath=/dev/null")
_LOOKS: Final = 40
_ASKED: Final = re.compile(r'^Message ([^\s"]+) from "?person:', re.MULTILINE)
"""The heading of a message of a person; what the person wrote follows as quoted lines, so that it cannot look like one."""
ANSWER: Final = (
    "I have read this. I am only an example of an agent and can neither plan nor decide: choose a coding agent for the town "
    "(`townctl run --agent opencode|claude|codex`), or create the work yourself (`townctl event post`)."
)


def main() -> int:
    """Work on the order. Returns the exit code."""
    order = wire.read(StartOrder, outside_files.json_of(Path(os.environ["TOWN_AGENT_CONTEXT"])))
    if order.role is Role.MAYOR or order.bead is None or order.branch is None:
        return _mayor(order.message or "")
    return _review(order, order.branch) if order.role is Role.REFINERY else _build(order, order.bead, order.branch)


def file_of(bead_id: str) -> str:
    """The name of the file that a polecat writes for a bead. No two beads share one, else the second would change nothing."""
    return f"work-{segment(bead_id)}.txt"


def _build(order: StartOrder, bead: OrderedBead, branch: str) -> int:
    file = Path(file_of(bead.id))
    while True:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        if len(lines) >= LINES:
            break
        with file.open("a", encoding="utf-8") as out:
            out.write(f"line {len(lines) + 1} by generation {order.generation}\n")
        _town_agent("status", f"wrote line {len(lines) + 1} of {LINES}")
        _think()
        if "taken away" in _town_agent("messages"):
            return 0  # the control server commits and pushes the unfinished file
    _git("add", "--all")
    if _git("status", "--porcelain"):
        _git("commit", "--quiet", "-m", bead.title)
    _git("push", "--quiet", "--force-with-lease", "origin", f"HEAD:refs/heads/{branch}")
    _town_agent("done", "--branch", branch, "--summary", f"{LINES} lines in {file}")
    return 0


def _review(order: StartOrder, branch: str) -> int:
    target = order.target_branch or (order.rig or OrderedRig()).default_branch
    _town_agent("status", f"reviewing {branch}")
    for _ in range(5):
        _git("fetch", "--quiet", "origin")
        _git("checkout", "--quiet", "--detach", f"refs/remotes/origin/{target}")
        _git("merge", "--quiet", "--no-ff", "-m", f"Merge {branch}", f"refs/remotes/origin/{branch}")
        pushed = subprocess.run(["git", "push", "--quiet", "origin", f"HEAD:refs/heads/{target}"], check=False)
        if pushed.returncode == 0:
            _town_agent("done", "--branch", branch)
            return 0
    return 1


def _mayor(message: str) -> int:
    """Answer the message for which it was started, and those that follow."""
    for look in range(_LOOKS):
        said = f"{message if look == 0 else ''}\n{_town_agent('messages')}"
        if said.strip() or look == 0:
            _town_agent("status", "read what was written to me")
            for message_id in asked_in(said):
                _town_agent("say", f"--reply-to={message_id}", ANSWER)
            _think()
            _town_agent("waiting")
        _think()
    return 0


def asked_in(said: str) -> list[str]:
    """The ids of the messages that people sent, each once."""
    return list(dict.fromkeys(_ASKED.findall(said)))


def _think() -> None:
    clock = clocks.from_text(os.environ.get(clocks.CLOCK_VARIABLE, ""))
    clock.sleep(float(os.environ.get("TOWN_AGENT_PACE", "20")))


def _town_agent(*words: str) -> str:
    command = [*shlex.split(os.environ.get("TOWN_AGENT_CLI", "town-agent")), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _git(*words: str) -> str:
    done = subprocess.run(["git", *_GIT, *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
