"""The convoys of a town as graphs: who waits for whom, coloured by status, with the critical chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.ui import graph, pieces, sentences, words
from infra.ui.graph import Graph
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.views import convoy_steps

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.views.town_view import Town
    from shared.questions.overview import ConvoyLine
    from shared.questions.town_view import TownView, ViewedBead

_WIDE: Final = 148
_WIDEST: Final = 230
_ACROSS: Final = 880
_HIGH: Final = 28
_GAP_X: Final = 36
_GAP_Y: Final = 12
_PER_LETTER: Final = 6.6
DRAWN: Final = 120
"""A graph of more beads than this says nothing to the eye; the list has them."""


def convoy_cards(town: Town) -> list[Html]:
    """A card for each convoy that is not over; if there is none, for the one that landed last."""
    convoys = [each for each in town.view.status.convoys if each.state in ("active", "staged")]
    if not convoys:
        convoys = [each for each in town.view.status.convoys if each.state == "landed"][:1]
    return [_card(town, convoy, place) for place, convoy in enumerate(convoys[:6])]


def graph_of_convoy(view: TownView, convoy: str) -> Graph:
    """The graph of the beads of a convoy."""
    beads = [bead for bead in view.beads if bead.convoy == convoy and bead.type == "issue"]
    nodes = [bead.bead_id for bead in beads]
    done = frozenset(bead.bead_id for bead in beads if bead.status == "closed")
    return graph.graph_of(
        nodes, ((edge.bead_id, edge.depends_on) for edge in view.edges if edge.kind == "blocks"), done=done
    )


def _card(town: Town, convoy: ConvoyLine, place: int) -> Html:
    view, names = town.view, town.names
    drawn = graph_of_convoy(view, convoy.bead_id)
    beads = {bead.bead_id: bead for bead in view.beads if bead.bead_id in drawn.places}
    steps = (
        tag(
            "span",
            *(tag("i", class_=_step(bead)) for bead in sorted(beads.values(), key=_order)),
            class_="progress",
            aria_hidden="true",
        )
        if len(beads) <= 40
        else None
    )
    head = joined(
        names.link(convoy.bead_id), tag("span", f" {convoy.done} of {convoy.total} done", class_="quiet"), steps
    )
    aside: Child = _state(convoy)
    if drawn.chain:
        aside = joined(
            "Critical chain: ",
            tag("b", f"{words.quantity(len(drawn.chain), 'bead')} left"),
            ", now at ",
            names.link(drawn.chain[0]),
        )
    id_ = "convoys" if not place else None
    if not beads:
        return pieces.card(head, pieces.empty("It tracks no bead of this town."), aside=aside, id_=id_)
    if len(beads) > DRAWN:
        to = town.standing.address.with_(convoy=convoy.bead_id, as_="list")
        said = pieces.empty(
            joined(
                f"{len(beads):,} beads are too many to draw. ", pieces.link(to, "Show them as a list", class_="name")
            )
        )
        return pieces.card(head, said, aside=aside, id_=id_)
    narrow = convoy_steps.convoy_steps(drawn, beads, names, {each: _mark(beads[each], town) for each in beads})
    return pieces.card(head, _drawing(drawn, beads, town, names), narrow, aside=aside, id_=id_)


def _state(convoy: ConvoyLine) -> str:
    if convoy.state == "landed":
        return "Landed"
    return "Staged: not started" if convoy.staged else "It has no chain of beads that wait for each other"


def _order(bead: ViewedBead) -> tuple[int, str]:
    places = ("closed", "in_review", "in_progress", "failed", "open")
    return (places.index(bead.status) if bead.status in places else len(places), bead.bead_id)


def _step(bead: ViewedBead) -> str:
    return "line" if bead.status == "open" else words.bead_word(bead.status).tone


def _width(drawn: Graph) -> int:
    """The width of a node: as wide as the page has room for."""
    room = (_ACROSS - (drawn.layers - 1) * _GAP_X) // max(drawn.layers, 1)
    return min(max(room, _WIDE), _WIDEST)


def _drawing(drawn: Graph, beads: dict[str, ViewedBead], town: Town, names: Names) -> Html:
    wide = _width(drawn)
    width = drawn.layers * (wide + _GAP_X) - _GAP_X + 4
    height = drawn.rows * (_HIGH + _GAP_Y) - _GAP_Y + 4
    chain = set(drawn.chain)
    lines = sorted(drawn.edges, key=lambda edge: edge[0] in chain and edge[1] in chain)
    near: dict[str, set[str]] = {}
    for before, after in drawn.edges:
        near.setdefault(before, set()).add(after)
        near.setdefault(after, set()).add(before)
    arrow = tag(
        "marker",
        tag("path", d="M0 0L6 3L0 6z"),
        id="arrow",
        viewBox="0 0 6 6",
        refX="6",
        refY="3",
        markerWidth="6",
        markerHeight="6",
        orient="auto",
    )
    paths = (_edge(drawn, before, after, critical=before in chain and after in chain) for before, after in lines)
    nodes = (
        _node(drawn, bead, town, names, critical=bead.bead_id in chain, near=near.get(bead.bead_id, set()))
        for bead in beads.values()
    )
    said = "; ".join(f"{names.of(after)} waits for {names.of(before)}" for before, after in drawn.edges)
    svg = tag(
        "svg",
        tag("title", f"Who waits for whom: {said or 'nobody waits'}"),
        tag("defs", arrow),
        *paths,
        *nodes,
        width=width,
        height=height,
        viewBox=f"-2 -2 {width} {height}",
        role="group",
    )
    return tag("div", svg, class_="graph", tabindex="0", role="region", aria_label="Graph of the convoy")


def _edge(drawn: Graph, before: str, after: str, *, critical: bool) -> Html:
    x1, y1 = _corner(drawn, before)
    x2, y2 = _corner(drawn, after)
    x1, y1, y2 = x1 + _width(drawn), y1 + _HIGH / 2, y2 + _HIGH / 2
    bend = x2 - _GAP_X / 2
    curve = (
        f"M{x1} {y1}H{bend - 14}C{bend} {y1} {bend - 8} {y2} {bend + 6} {y2}H{x2 - 1}"
        if y1 != y2
        else f"M{x1} {y1}H{x2 - 1}"
    )
    return tag("path", d=curve, class_="crit" if critical else None, marker_end="url(#arrow)")


def _node(drawn: Graph, bead: ViewedBead, town: Town, names: Names, *, critical: bool, near: set[str]) -> Html:
    x, y = _corner(drawn, bead.bead_id)
    name = names.of(bead.bead_id)
    letters = int((_width(drawn) - 34) / _PER_LETTER)
    shown = name if len(name) <= letters else f"{name[: letters - 1].rstrip()}…"
    word = words.bead_word(bead.status)
    shape, tone = _mark(bead, town)
    classes = f"node {bead.status}{' crit' if critical else ''}{' silent' if shape == 'attn' else ''}"
    body = tag(
        "g",
        tag("title", f"{name}: {word.text}"),
        tag("rect", x=x, y=y, width=_width(drawn), height=_HIGH, rx="6"),
        tag(
            "svg",
            tag("use", href=f"#s-{shape}"),
            x=x + 8,
            y=y + 7,
            width="14",
            height="14",
            viewBox="0 0 16 16",
            class_=f"shape {tone}",
        ),
        tag("text", shown, x=x + 27, y=y + 18),
        class_=classes,
        data_node=bead.bead_id,
        data_near=" ".join(sorted(near)),
    )
    return tag(
        "a",
        body,
        href=names.address(bead.bead_id).href,
        aria_label=f"{name}: {word.text}{', on the critical chain' if critical else ''}",
        data_key=f"node-{bead.bead_id}",
    )


def _mark(bead: ViewedBead, town: Town) -> tuple[str, str]:
    """The shape and the tone of a bead."""
    word = words.bead_word(bead.status)
    agent = next((each for each in town.view.status.agents if each.hook == bead.bead_id), None)
    if agent is not None and sentences.is_silent(agent.last_activity_at, town.view.status.now):
        return "attn", "attn"
    return "blocked" if bead.status == "open" and _is_blocked(town, bead) else word.shape, word.tone


def _is_blocked(town: Town, bead: ViewedBead) -> bool:
    return any(
        each.bead_id == bead.bead_id and each.reason in ("blocked_by", "failed_dependency")
        for each in town.view.status.waiting
    )


def _corner(drawn: Graph, node: str) -> tuple[float, float]:
    place = drawn.places[node]
    return place.layer * (_width(drawn) + _GAP_X), place.row * (_HIGH + _GAP_Y)
