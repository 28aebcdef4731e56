"""The commands of a prompt: literal, and quoted for a shell.

Words in capitals in double quotes, such as "SUMMARY", are for the agent to replace. Every other word of a command is a value that
the town knows: cleaned, on one line, and quoted so that a shell takes it for one word, whatever it contains.
"""

import shlex

from shared.domain.quoting import cleaned


def word(value: str) -> str:
    """A value as one word of a shell command."""
    return shlex.quote(" ".join(cleaned(value).split()))


def option(name: str, value: str) -> str:
    """An option with its value. A value that looks like an option is attached."""
    text = word(value)
    return f"{name}={text}" if text.lstrip("'").startswith("-") else f"{name} {text}"


def flags(text: str | None) -> str:
    """The words of a setting that holds flags, each quoted again, so that they stay flags; nothing if they cannot be read."""
    try:
        words = shlex.split(cleaned(text or ""))
    except ValueError:
        return ""
    return "".join(f" {shlex.quote(each)}" for each in words)


def script(*lines: str) -> str:
    """Commands as a block that can be run as it is and stops at the first command that fails. Empty lines are left out."""
    return "\n".join(["```sh", " &&\n".join(line for line in lines if line), "```"])
