"""Errors of the command line's parser in words for the user: what is wrong, and which --help shows the correct form."""

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from infra.townctl.wording import number_of


def mistake(error: CycloptsError) -> tuple[str, str]:
    """The message and the hint for a command line that cannot be parsed."""
    command = " ".join(error.command_chain or ())
    hint = (
        f"`townctl {command} --help` shows its arguments and options"
        if command
        else "`townctl --help` lists the commands and options"
    )
    return _message(error), hint


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
    said = str(error)
    return said[:1].lower() + said[1:]


def _name(error: MissingArgumentError) -> str:
    """The missing argument as the usage line of the help shows it."""
    if error.argument is None or not error.argument.field_info.is_positional:
        return "" if error.argument is None else error.argument.name
    return error.argument.name.lstrip("-").replace("-", "_").upper()
