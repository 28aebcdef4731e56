"""The names in the actions of rules: the rows that an action is about."""

from collections.abc import Iterable, Iterator, Mapping

from shared.actions.base import Action


def named(value: object) -> Iterator[str]:
    """Every text in the wire form of an action, and the parts of texts such as `failed_blocker:ID`."""
    if isinstance(value, str):
        yield value
        if ":" in value:
            yield from value.split(":")
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from named(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from named(part)


def rows_of(action: Action) -> Iterable[str]:
    """What an action names, without repetition."""
    return dict.fromkeys(part for _, value in action.parts() for part in named(value))
