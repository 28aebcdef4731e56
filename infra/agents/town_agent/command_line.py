"""The command line of `town-agent`, made from the table of verbs. Only the parser of the verb that is called is built."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

from infra.agents.town_agent.talk import Given
from infra.agents.town_agent.verb import JSON, Argument, Verb
from infra.agents.town_agent.verbs import VERBS

PROGRAM: Final = "town-agent"
_COLUMN: Final = 20
_WIDTH: Final = 120
_STDIN_AT_MOST: Final = 1 << 20


def given_in(verb: Verb, words: Sequence[str]) -> Given:
    """The arguments in the words behind the name of a verb. Raises SystemExit if they do not fit, or if help is wanted."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {verb.name}", description=verb.about, allow_abbrev=False)
    for argument in (*verb.arguments, *((JSON,) if verb.reads else ())):
        _add(parser, argument)
    given = parser.parse_args(words)
    for argument in verb.arguments:
        value = getattr(given, argument.key)
        text = " ".join(value or ()) if argument.kind == "words" else value
        is_asked_for = argument.or_stdin and text == "-"
        setattr(given, argument.key, sys.stdin.read(_STDIN_AT_MOST) if is_asked_for else text)
    return given


def help_text() -> str:
    """Every verb in one line or two."""
    rows = "\n".join(_row(verb) for verb in VERBS)
    return (
        f"usage: {PROGRAM} COMMAND [ARGUMENTS]\n\n"
        "Report to the town that started this agent, ask it, and, as far as you may, plan its work.\n"
        f"`{PROGRAM} COMMAND --help` shows the arguments of a command.\n\n{rows}\n\n"
        "exit codes: 0 done; 1 the town did not answer: try again; 2 wrong usage, or refused: do not try again\n"
    )


def unknown(words: Sequence[str]) -> str:
    """What is wrong with a command line that begins with no verb."""
    if not words:
        return f"a command is required; `{PROGRAM} --help` lists them"
    same_group = [verb.name for verb in VERBS if verb.name.startswith(f"{words[0]} ")]
    if not same_group:
        return f"{words[0]!r} is not a command; `{PROGRAM} --help` lists them"
    what = "needs a second word" if len(words) == 1 else f"has no {words[1]!r}"
    return f"{words[0]} {what}: {', '.join(same_group)}"


def _row(verb: Verb) -> str:
    lines = textwrap.wrap(verb.about, _WIDTH - _COLUMN)
    return f"  {verb.name:<{_COLUMN - 2}}" + ("\n" + " " * _COLUMN).join(lines)


def _add(parser: argparse.ArgumentParser, argument: Argument) -> None:
    about = _about(argument).replace("%", "%%")
    if argument.kind == "flag":
        parser.add_argument(argument.name, action="store_true", help=about)
    elif argument.kind == "texts":
        parser.add_argument(argument.name, action="append", default=[], metavar=argument.stands_for, help=about)
    elif argument.is_option:
        parser.add_argument(
            argument.name,
            type=int if argument.kind == "number" else str,
            choices=argument.choices or None,
            default=argument.default,
            required=argument.required,
            metavar=argument.stands_for,
            help=about,
        )
    else:
        many, one = ("*", "?") if argument.optional else ("+", None)
        parser.add_argument(argument.name, nargs=many if argument.kind == "words" else one, help=about)


def _about(argument: Argument) -> str:
    repeated = "; may be repeated" if argument.kind == "texts" else ""
    return f"{argument.about}{repeated}{'; `-`: from standard input' if argument.or_stdin else ''}"
