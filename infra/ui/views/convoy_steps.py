"""The beads of a convoy as a list, for windows that are too narrow for its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, words
from infra.ui.graph import Graph
from infra.ui.markup import Child, Html, joined, tag

if TYPE_CHECKING:
    from infra.ui.names import Names
    from shared.questions.town_view import ViewedBead

_NAMED: Final = 2


def convoy_steps(
    drawn: Graph, beads: Mapping[str, ViewedBead], names: Names, marks: Mapping[str, tuple[str, str]]
) -> Html:
    """The beads that are left, the critical chain first and every bead after those that it waits for; then, folded, the others.

    `marks` are the shape and the tone of each bead. The page shows the list only where it does not show the graph.
    """
    order = {node: place for place, node in enumerate(drawn.chain)}
    left = [bead for bead in beads.values() if bead.status != "closed"]
    left.sort(key=lambda bead: (order.get(bead.bead_id, len(order)), drawn.places[bead.bead_id].layer))
    done = [bead for bead in beads.values() if bead.status == "closed"]
    done.sort(key=lambda bead: drawn.places[bead.bead_id].layer)
    parts = [tag("ol", *(_step(bead, drawn, beads, names, marks) for bead in left))] if left else []
    if done:
        said = f"{words.quantity(len(done), 'bead')} done"
        rows = (_step(bead, drawn, beads, names, marks) for bead in done)
        parts.append(tag("details", tag("summary", said), tag("ol", *rows)))
    return tag("div", *parts, class_="steps")


def _step(
    bead: ViewedBead,
    drawn: Graph,
    beads: Mapping[str, ViewedBead],
    names: Names,
    marks: Mapping[str, tuple[str, str]],
) -> Html:
    shape, tone = marks[bead.bead_id]
    critical = bead.bead_id in drawn.chain
    waits_for = [one for one, after in drawn.edges if after == bead.bead_id and beads[one].status != "closed"]
    sub: Child = None
    if waits_for:
        others = f" and {len(waits_for) - _NAMED} more" if len(waits_for) > _NAMED else ""
        links = [joined(", " if place else "", names.link(each)) for place, each in enumerate(waits_for[:_NAMED])]
        sub = tag("span", "after ", *links, others, class_="sub")
    name = tag("span", names.link(bead.bead_id), " " if critical else "", pieces.critical() if critical else None)
    word = words.bead_word(bead.status).text
    return tag(
        "li",
        pieces.shape(shape, tone, word),
        tag("span", name, sub, class_="step-name"),
        tag("span", word, class_="quiet"),
        class_="crit" if critical else None,
        data_key=f"step-{bead.bead_id}",
    )
