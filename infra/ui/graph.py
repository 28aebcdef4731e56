"""The layout of a convoy's graph: layers from left to right by the longest path, the critical chain on one straight row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_SWEEPS: Final = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands."""

    layer: int
    row: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A drawn graph: the place of each node, the edges from a bead to the one that waits for it, and the critical chain."""

    places: Mapping[str, Place]
    edges: tuple[tuple[str, str], ...]
    chain: tuple[str, ...]
    layers: int
    rows: int


def graph_of(nodes: Sequence[str], waits_for: Iterable[tuple[str, str]], *, done: frozenset[str]) -> Graph:
    """The graph of these nodes. `waits_for` has pairs of a bead and the one that it waits for; others than `nodes` are left out.

    The critical chain is the longest path of beads that are not done: nothing of it can be done at the same time.
    """
    known = set(nodes)
    edges = tuple(
        dict.fromkeys(
            (before, after) for after, before in waits_for if before in known and after in known and before != after
        )
    )
    layer = _layers(nodes, edges)
    chain = _chain(nodes, edges, layer, done)
    rows = _rows(nodes, edges, layer, chain)
    places = {node: Place(layer[node], rows[node]) for node in nodes}
    return Graph(places, edges, chain, max(layer.values(), default=-1) + 1, max(rows.values(), default=-1) + 1)


def _layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest path to each node. A cycle, which no town has, would end after one round for each node."""
    layer = dict.fromkeys(nodes, 0)
    for _ in nodes:
        changed = False
        for before, after in edges:
            if layer[after] < layer[before] + 1 < len(nodes) + 1:
                layer[after] = layer[before] + 1
                changed = True
        if not changed:
            break
    return layer


def _chain(
    nodes: Sequence[str], edges: Sequence[tuple[str, str]], layer: Mapping[str, int], done: frozenset[str]
) -> tuple[str, ...]:
    after: dict[str, list[str]] = {}
    for one, other in edges:
        if one not in done and other not in done:
            after.setdefault(one, []).append(other)
    best: dict[str, tuple[str, ...]] = {}
    for node in sorted(nodes, key=lambda each: -layer[each]):
        if node not in done:
            tails = (best[each] for each in after.get(node, ()) if each in best)
            best[node] = (node, *max(tails, key=len, default=()))
    longest = max(best.values(), key=len, default=())
    return longest if len(longest) > 1 else ()


def _rows(
    nodes: Sequence[str], edges: Sequence[tuple[str, str]], layer: Mapping[str, int], chain: Sequence[str]
) -> dict[str, int]:
    """A row for each node: those of a layer near the nodes that they are joined with, and the chain on the same row."""
    near: dict[str, list[str]] = {node: [] for node in nodes}
    for before, after in edges:
        near[before].append(after)
        near[after].append(before)
    by_layer: dict[int, list[str]] = {}
    for node in nodes:
        by_layer.setdefault(layer[node], []).append(node)
    rows = {node: row for each in by_layer.values() for row, node in enumerate(each)}
    on_chain = set(chain)
    straight = min(1, max((len(each) for each in by_layer.values()), default=1) - 1)
    for sweep in range(_SWEEPS):
        for place in sorted(by_layer, reverse=bool(sweep % 2)):
            mine = by_layer[place]
            wanted = {node: _middle([rows[each] for each in near[node]], rows[node]) for node in mine}
            free = sorted((node for node in mine if node not in on_chain), key=lambda node: (wanted[node], rows[node]))
            fixed = [node for node in mine if node in on_chain]
            slots = [slot for slot in range(len(mine) + (straight if fixed else 0)) if not fixed or slot != straight]
            rows |= dict(zip(free, slots, strict=False))
            rows |= dict.fromkeys(fixed, straight)
    return rows


def _middle(rows: Sequence[int], otherwise: int) -> float:
    return sum(rows) / len(rows) if rows else otherwise
