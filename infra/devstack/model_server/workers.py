"""Scripts for agents of a town that do what their prompt says: each runs the blocks of commands in it, in order, and edits between.

No command here is about towns, branches or pull requests: those are in the prompts. So whatever a prompt does not say, such an
agent does not do.
"""

import re
import shlex
from collections.abc import Callable
from typing import Final

from infra.devstack.model_server.scripts import Reply, Say, Script, Shell, Step

_TASK: Final = "# What to do"
_BLOCK: Final = re.compile(r"^```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_TRIES: Final = 5
DONE: Final = Step(Say("I am done."))

WORK: Final = "Your task: implement a bead"
REVIEW: Final = "Your task: review a branch"
REWORK: Final = "Your task: rework a branch"
LANDING: Final = "Your task: land a convoy"
FEEDBACK: Final = "Your task: address the feedback on a pull request"
CONFLICT: Final = "Your task: resolve the conflicts of a pull request"


def commands(prompt: str, number: int, **words: str) -> str:
    """A block of commands of a prompt's task, by its number from 0 (negative: from the end), with its words in capitals filled in.

    Raises LookupError if the task has no such block, so that an agent whose prompt lacks a step ends with an error.
    """
    blocks = _BLOCK.findall(prompt.rpartition(_TASK)[2])
    try:
        block = str(blocks[number])
    except IndexError:
        raise LookupError(f"the prompt has {len(blocks)} blocks of commands, and none is number {number}") from None
    for word, text in words.items():
        block = block.replace(f'"{word}"', shlex.quote(text))
    return block


def block(number: int, **words: str) -> Callable[[str], Reply]:
    """Run a block of the prompt."""
    return lambda prompt: Shell(commands(prompt, number, **words))


def last_block_until_it_succeeds(**words: str) -> Callable[[str], Reply]:
    """Run the last block of the prompt, and run it again if it ends with 1: somebody else has pushed, or nobody has answered."""
    return _again(-1, **words)


def _again(number: int, **words: str) -> Callable[[str], Reply]:
    return lambda prompt: Shell(_until_it_succeeds(commands(prompt, number, **words)))


def _until_it_succeeds(block: str) -> str:
    numbers = " ".join(map(str, range(_TRIES)))
    return f"for try in {numbers}; do\n{{ {block}\n}} && break\ntest $? -eq 1 || exit 2\nsleep 1\ndone"


def _for(title: str) -> str:
    """The line of a prompt that says which work it is about. The title alone also stands in the commits that a program shows."""
    return f'- Title: "{title}"'


def implements(title: str, edit: str, *more: Step) -> Script:
    """A polecat that does a piece of work with `edit`, a shell command. `more` steps come before its report."""
    steps = (Step(block(0)), Step(Shell(edit)), Step(block(1, MESSAGE=title)), Step(block(2)), *more)
    report = Step(last_block_until_it_succeeds(SUMMARY=f"{title}: done", TITLE=title, TEXT=f"This is for: {title}"))
    return Script(f"work: {title}", (WORK, _for(title)), (*steps, report, DONE))


def reworks(title: str, edit: str) -> Script:
    """A polecat that makes the changes for which a reviewer has asked."""
    steps = (Step(block(0)), Step(Shell(edit)), Step(block(1, MESSAGE=f"{title}: changes")), Step(block(2)))
    return Script(f"rework: {title}", (REWORK, _for(title)), (*steps, Step(last_block_until_it_succeeds()), DONE))


def answers_feedback(title: str, edit: str) -> Script:
    """A polecat that makes the changes for which a comment in a pull request asks, and answers the comment."""
    steps = (
        Step(block(0)),
        Step(block(1)),
        Step(Shell(edit)),
        Step(block(2, MESSAGE=f"{title}: changes")),
        Step(block(3)),
    )
    ends = (Step(_again(4, ANSWER="Changed.")), Step(last_block_until_it_succeeds()), DONE)
    return Script(f"feedback: {title}", (FEEDBACK, _for(title)), (*steps, *ends))


def resolves_conflicts(title: str, edit: str) -> Script:
    """A polecat that resolves conflicts with `edit`. The merge itself fails, as a tool call may."""
    steps = (Step(block(0)), Step(block(1)), Step(Shell(edit)), Step(block(2)))
    return Script(f"conflict: {title}", (CONFLICT, _for(title)), (*steps, Step(last_block_until_it_succeeds()), DONE))


def approves(title: str) -> Script:
    """A refinery that finds nothing wrong with a piece of work."""
    return Script(
        f"review: {title}", (REVIEW, _for(title)), (Step(block(0)), Step(last_block_until_it_succeeds()), DONE)
    )


def approves_if(title: str, test: str, *, wants: str, file: str) -> Script:
    """A refinery that asks for changes until `test`, a shell command in the reviewed tree, succeeds."""

    def judgement(prompt: str) -> Reply:
        asks = commands(prompt, -2, FEEDBACK=wants, COMMENT=wants, FILE=file)
        approval = _until_it_succeeds(commands(prompt, -1))
        return Shell(f"if {test}; then\n{approval}\nelse\n{_until_it_succeeds(asks)}\nfi")

    return Script(f"review: {title}", (REVIEW, _for(title)), (Step(block(0)), Step(judgement), DONE))


def lands(title: str) -> Script:
    """A refinery that lands a convoy."""
    report = last_block_until_it_succeeds(SUMMARY=f"{title}: landed", TITLE=title, TEXT="All of it.")
    return Script(f"landing: {title}", (LANDING, _for(title)), (Step(block(0)), Step(report), DONE))


def mayor_that_waits() -> Script:
    """A mayor that reads what it is told, and waits."""
    return Script("the mayor", ("the mayor of the town",), (Step(block(-1)), Step(Say("I wait."))))
