"""Names before ids: what every bead, agent and review is called on a page, and links to them in any sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from infra.ui.address import Address
from infra.ui.markup import Html, joined, tag
from infra.ui.short_ids import short

if TYPE_CHECKING:
    from shared.questions.town_view import TownView

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{2,}")
_BRANCH: Final = re.compile(r"Review: (gt/[^\s/]+/([A-Za-z0-9_-]+))")
_NUMBER: Final = re.compile(r"(?:pull|merge_requests)/(\d+)/?$")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one town. `agents` are the ids that are agents; all others are beads."""

    town_id: str
    titles: Mapping[str, str] = field(default_factory=dict)
    agents: frozenset[str] = frozenset()
    sources: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    at: str | None = None

    def of(self, id_: str) -> str:
        """The name of a bead or agent; the beginning of its id if it has none."""
        title = self.titles.get(id_)
        if title is None:
            return short(id_)
        return self.tidy(title)

    def tidy(self, title: str) -> str:
        """A title without the ids of branches: the review of a branch is called after the bead that the branch is for."""
        return _BRANCH.sub(lambda found: f"Review of {self._bead_of_branch(found[2])}", title)

    def _bead_of_branch(self, bead_id: str) -> str:
        found = self.titles.get(bead_id)
        return short(bead_id) if found is None else found

    def link(self, id_: str, *, shown: str | None = None) -> Html:
        """A link to the page of a bead or agent, with its id as tooltip."""
        return tag("a", shown or self.of(id_), href=self.address(id_).href, title=id_, class_="name", data_bead=id_)

    def address(self, id_: str) -> Address:
        """The page of a bead or agent."""
        view = "agent" if id_ in self.agents else "bead"
        return Address(view=view, town=self.town_id, subject=id_, at=self.at)

    def linked(self, text: str) -> Html:
        """A sentence in which every id that has a name is a link with that name."""
        parts: list[Html | str] = []
        end = 0
        text = self.tidy(text)
        for found in _ID.finditer(text):
            id_ = found[0].rstrip(".:")
            if id_ in self.titles:
                parts += [text[end : found.start()], self.link(id_)]
                end = found.start() + len(id_)
        return joined(*parts, text[end:])

    def review(self, review_id: str) -> Html:
        """A review by the number of its pull request, else by the bead that it is about."""
        number = self.numbers.get(review_id)
        return self.link(review_id, shown=number)

    def more(self, titles: Mapping[str, str]) -> Names:
        """The same names and these, which count less."""
        return Names(self.town_id, {**titles, **self.titles}, self.agents, self.sources, self.numbers, self.at)


def names_in(view: TownView, at: str | None) -> Names:
    """The names of everything in a view."""
    titles = {bead.bead_id: bead.title for bead in view.beads}
    titles |= {bead.bead_id: bead.title for bead in view.status.beads}
    titles |= {bead.bead_id: bead.title for bead in view.status.failed}
    titles |= {agent.agent_id: agent_name(agent.identity) for agent in view.status.agents}
    numbers = {review.bead_id: number for review in view.reviews if (number := pull_number(review.pr_url))}
    sources = {review.bead_id: review.source for review in view.reviews if review.source is not None}
    agents = frozenset(agent.agent_id for agent in view.status.agents)
    return Names(view.status.town_id, titles, agents, sources, numbers, at)


def agent_name(identity: str) -> str:
    """The name of an agent, without its role, rig and town."""
    return identity.partition("-")[0] or identity


def pull_number(url: str | None) -> str | None:
    """The number of a pull request as people write it: `#45`; None if the address has none."""
    found = None if url is None else _NUMBER.search(urlsplit(url).path)
    return None if found is None else f"#{found[1]}"
