"""HTML that cannot be broken by what others wrote: every text is escaped, and only `tag` makes markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias

_EMPTY: Final = frozenset({"br", "hr", "img", "input", "meta", "link"})


class Html(str):
    """Markup. Everything else is a text, which is escaped where it is put into markup."""

    __slots__ = ()


Child: TypeAlias = "Html | str | int | Iterable[Child] | None"
NOTHING: Final = Html("")


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element. `class_` is the attribute class, `data_due` data-due. None and False leave one out; True has no value."""
    shown = "".join(_attribute(each, value) for each, value in attributes.items())
    if name in _EMPTY:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Html:
    """These children one after another."""
    return Html("".join(_text(each) for each in children))


def between(mark: Child, children: Iterable[Child]) -> Html:
    """These children with a mark between each two."""
    return Html(_text(mark).join(_text(each) for each in children))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int):
        return escape(str(child), quote=True)
    return joined(*child)


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(str(value), quote=True)}"'
