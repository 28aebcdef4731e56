"""Counts, time spans and errors in words, for every table and progress line."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.domain.errors import TownError


def number_of(noun: str, count: int, plural: str = "") -> str:
    """A noun in singular or plural; `plural` is for nouns that do not just take an s."""
    return noun if count == 1 else plural or f"{noun}s"


def quantity(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 effect`, `2 effects`."""
    return f"{count} {number_of(noun, count, plural)}"


def counted(things: Iterable[str]) -> str:
    """`3 agent_heartbeat, agent_done`: how many of each, in order of first appearance."""
    return ", ".join(f"{count} {thing}" if count > 1 else thing for thing, count in Counter(things).items())


def since(start: datetime, at: datetime) -> str:
    """Minutes and seconds from `start` to `at`, on the town's clock."""
    seconds = (at - start) // timedelta(seconds=1)
    return f"{seconds // 60}:{seconds % 60:02}"


def message_of(error: Exception) -> str:
    """The message of an error without secrets, with its hint if it has one."""
    from shared.domain.secret_texts import masked

    if not isinstance(error, TownError):
        return f"{type(error).__name__}: {masked(str(error))} (a bug in townctl; nothing was committed)"
    return masked(f"{error.message}; {error.hint}" if error.hint else error.message)
