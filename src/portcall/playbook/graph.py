"""The graph of the steps: which arcs point back, an order, and what each step can reach.

Sets of steps are bit masks in Python integers, so that thousands of steps cost milliseconds.
Nothing recurses: a chain may be as long as a playbook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portcall.playbook.model import Graph

Arcs = Sequence[Sequence[int]]
"""For each step the targets of its arcs, in order."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the arcs alone say. `back` and `tangled` hold (source, arc index)."""

    back: frozenset[tuple[int, int]]
    tangled: frozenset[tuple[int, int]]
    """Those of `back` whose target does not dominate its source: two ways into one circle."""
    unreachable: tuple[int, ...]
    graph: Graph


def build(names: Sequence[str], arcs: Arcs, start: int) -> Shape:
    """The graph of the steps `names`, entered at `start`."""
    order, starts = _postorder(arcs, [start])
    reachable = set(order)
    rest, more = _postorder(arcs, range(len(arcs)), seen=reachable)
    order = rest + order
    back = _dominated(arcs, list(reversed(order)), set(starts + more), reachable)
    forward = [[t for i, t in enumerate(targets) if (s, i) not in back] for s, targets in enumerate(arcs)]
    tangled = _retreating(arcs, back, [start, *range(len(arcs))])
    if tangled:
        back |= tangled
        forward = [[t for i, t in enumerate(targets) if (s, i) not in back] for s, targets in enumerate(arcs)]
    down, _ = _postorder(forward, [start])
    left, _ = _postorder(forward, range(len(arcs)), seen=set(down))
    bottom_up = left + down if _sorted(forward, left + down) else _postorder(forward, range(len(arcs)))[0]
    graph = Graph(
        order=tuple(names),
        rank=_ranks(bottom_up),
        incoming=_incoming(arcs, back, reachable),
        forward=_forward(forward, bottom_up),
        reach=_reach(arcs),
    )
    unreachable = tuple(i for i in range(len(arcs)) if i not in reachable)
    return Shape(frozenset(back), frozenset(tangled), unreachable, graph)
