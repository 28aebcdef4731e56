"""Errors of the command line's parser in words for the user: what is wrong, and which --help shows the correct form."""

from difflib import get_close_matches
from typing import Final

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from infra.townctl import commands
from infra.townctl.wording import number_of

_KINDS: Final = {int: "a whole number", float: "a number"}
_MOST_MEANT: Final = 3
_LIKE: Final = 0.75
"""How much of a wrong word must be in a command's name, so that it is proposed."""


def mistake(error: CycloptsError) -> tuple[str, str]:
    """The message and the hint for a command line that cannot be parsed."""
    command = " ".join(error.command_chain or ())
    hint = (
        f"`townctl {command} --help` shows its arguments and options"
        if command
        else "`townctl --help` lists the commands and options"
    )
    meant = _meant(command, error) if isinstance(error, UnknownCommandError) else []
    if meant:
        hint = f"did you mean {' or '.join(f'`townctl {name}`' for name in meant)}? {hint}"
    return _message(error), hint


def _meant(group: str, error: UnknownCommandError) -> list[str]:
    """The commands that an unknown one may stand for: of any group, `town status` for `status`; else those of a similar name."""
    word = (error.unused_tokens or [""])[0]
    names = [each.name for each in commands.COMMANDS]
    inside = [name for name in names if name.startswith(f"{group} ")] or names
    exact = [name for name in inside if name.rpartition(" ")[2] == word]
    if exact:
        return exact[:_MOST_MEANT]
    near = get_close_matches(word, {name.rpartition(" ")[2] for name in inside}, n=_MOST_MEANT, cutoff=_LIKE)
    return [name for close in near for name in inside if name.rpartition(" ")[2] == close][:_MOST_MEANT]


def _message(error: CycloptsError) -> str:
    unused = error.unused_tokens or []
    if isinstance(error, UnknownCommandError) and unused and unused[0].startswith("-"):
        return f"unknown option: {unused[0]}"
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected {number_of('argument', len(unused))}: {' '.join(unused)}"
    if type(error) is MissingArgumentError and error.argument is not None:
        if error.argument.tokens or error.keyword is not None:
            return f"{error.keyword or error.argument.name} needs a value"
        return f"{_name(error)} is required"
    if isinstance(error, UnknownCommandError) and unused:
        return f"unknown command: {' '.join([*(error.command_chain or ()), unused[0]])}"
    if isinstance(error, CoercionError) and error.token is not None and error.target_type in _KINDS:
        name = error.token.keyword or (error.argument.name if error.argument is not None else "it")
        return f"{name} takes {_KINDS[error.target_type]}, not {error.token.value!r}"
    said = str(error)
    return said[:1].lower() + said[1:]


def _name(error: MissingArgumentError) -> str:
    """The missing argument as the usage line of the help shows it."""
    if error.argument is None or not error.argument.field_info.is_positional:
        return "" if error.argument is None else error.argument.name
    return error.argument.name.lstrip("-").replace("-", "_").upper()
