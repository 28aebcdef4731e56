"""The address of a page: view, town, time, selection and filter. Every view at every time has one, so it can be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from shared.domain.limits import MILLISECOND
from shared.domain.times import parse_iso, to_text

TOWN_VIEWS: Final = ("town", "timeline", "machine", "beads", "agents", "reviews", "settings")
SUBJECT_VIEWS: Final = ("bead", "agent")


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody is. `at` is the time that the page shows, as text; None is now. `query` has everything else."""

    view: str = "fleet"
    town: str = ""
    subject: str = ""
    at: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def href(self) -> str:
        """The path and query."""
        path = "/"
        if self.town:
            path += f"t/{quote(self.town, safe='')}"
            if self.view != "town":
                path += f"/{quote(self.view)}"
            if self.subject:
                path += f"/{quote(self.subject, safe='')}"
        query = {**({} if self.at is None else {"at": self.at}), **{k: v for k, v in self.query.items() if v}}
        return path + (f"?{urlencode(query)}" if query else "")

    @property
    def time(self) -> datetime | None:
        """The time that the page shows; None is now, also if `at` is not a time."""
        if self.at is None:
            return None
        try:
            return parse_iso(self.at)
        except ValueError:
            return None

    @property
    def exists(self) -> bool:
        """Whether there is a page of this kind."""
        return not self.town or self.view in TOWN_VIEWS or (self.view in SUBJECT_VIEWS and bool(self.subject))

    def to(self, view: str, subject: str = "", **query: str) -> Address:
        """Another view of the same town at the same time."""
        return Address(view, self.town, subject, self.at, query)

    def with_(self, **query: str | None) -> Address:
        """The same view with these parameters; None removes one."""
        changed = {**self.query, **{name.rstrip("_"): value for name, value in query.items()}}
        return replace(self, query={name: value for name, value in changed.items() if value})

    def at_time(self, at: str | None) -> Address:
        """The same view at another time."""
        return replace(self, at=at)

    def just_before(self, at: datetime) -> Address:
        """The same view at the last commit before this time."""
        return self.at_time(to_text(at - MILLISECOND))


def address_of(href: str) -> Address:
    """The address that a path and query mean. Below a town, a view that does not exist stays what it is: its page says so."""
    parts = urlsplit(href)
    query = dict(parse_qsl(parts.query))
    at = query.pop("at", None)
    found = [unquote(each) for each in parts.path.split("/") if each]
    if len(found) < 2 or found[0] != "t":
        return Address(query=query)
    town, *rest = found[1:]
    view = rest[0] if rest else "town"
    if view in SUBJECT_VIEWS and len(rest) > 1:
        return Address(view, town, "/".join(rest[1:]), at, query)
    return Address("/".join(rest) or "town", town, "", at, query)
