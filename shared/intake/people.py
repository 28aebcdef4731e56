"""The names of people in a town. No agent can have such a name, so nobody takes a person's word for an agent's, or the reverse."""

from typing import Final

_PERSON: Final = "person:"
LONGEST_NAME: Final = 64


def named(name: str) -> str:
    """The name under which a town keeps what a person says: one line that can be shown, of at most LONGEST_NAME characters."""
    shown = "".join(each if each.isprintable() else " " for each in name)
    return _PERSON + (" ".join(shown.split())[:LONGEST_NAME] or "somebody")


def name_of(creator: str) -> str:
    """The name of a person without the mark; any other name unchanged."""
    return creator.removeprefix(_PERSON)
