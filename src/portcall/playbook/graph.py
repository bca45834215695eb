"""The graph of the steps: which arcs point back, an order, and what each step can reach.

Sets of steps are bit masks in Python integers, so that thousands of steps cost milliseconds.
Nothing recurses: a chain may be as long as a playbook.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from portcall.playbook.model import Graph

Arcs = Sequence[Sequence[int]]
"""For each step the targets of its arcs, in order."""
_FINISHED = 2


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
    everywhere = (start, *range(len(arcs)))
    reachable = set(_walk(arcs, (start,)).postorder)
    first = _walk(arcs, everywhere)
    dominated = _dominated(arcs, first, reachable)
    tangled = _walk(arcs, everywhere, without=dominated).retreating
    back = dominated | tangled
    forward = _without(arcs, back)
    # From the last arc to the first, so that branches rank in the order in which the arcs are written.
    bottom_up = _walk([targets[::-1] for targets in forward], everywhere).postorder
    graph = Graph(
        order=tuple(names),
        rank=_ranks(bottom_up),
        incoming=_incoming(arcs, back, reachable),
        forward=_forward(forward, bottom_up),
        reach=_reach(arcs),
    )
    unreachable = tuple(i for i in range(len(arcs)) if i not in reachable)
    return Shape(frozenset(back), frozenset(tangled), unreachable, graph)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A depth-first walk. `retreating`: arcs (source, arc index) to a step that was still being walked."""

    postorder: list[int]
    roots: list[int]
    retreating: set[tuple[int, int]]


def _walk(arcs: Arcs, roots: Sequence[int], without: AbstractSet[tuple[int, int]] = frozenset()) -> _Walk:
    walk = _Walk([], [], set())
    state = [0] * len(arcs)
    for root in roots:
        if state[root]:
            continue
        walk.roots.append(root)
        state[root] = 1
        stack = [(root, iter(enumerate(arcs[root])))]
        while stack:
            node, targets = stack[-1]
            for index, target in targets:
                if (node, index) in without:
                    continue
                if state[target] == 1:
                    walk.retreating.add((node, index))
                elif not state[target]:
                    state[target] = 1
                    stack.append((target, iter(enumerate(arcs[target]))))
                    break
            else:
                state[node] = _FINISHED
                walk.postorder.append(node)
                stack.pop()
    return walk


def _without(arcs: Arcs, removed: set[tuple[int, int]]) -> list[list[int]]:
    return [[t for i, t in enumerate(targets) if (s, i) not in removed] for s, targets in enumerate(arcs)]


def _dominated(arcs: Arcs, walk: _Walk, reachable: set[int]) -> set[tuple[int, int]]:
    """The arcs whose target dominates their source.

    Sets of dominators as masks, to a fixed point in reverse postorder: two passes for all but odd graphs.
    A step that no walk from the start meets says nothing about those that one does.
    """
    before: list[list[int]] = [[] for _ in arcs]
    for source, targets in enumerate(arcs):
        for target in targets:
            if source in reachable or target not in reachable:
                before[target].append(source)
    everything = (1 << len(arcs)) - 1
    dominators = [everything] * len(arcs)
    for root in walk.roots:
        dominators[root] = 1 << root
        before[root] = []
    changed = True
    while changed:
        changed = False
        for node in reversed(walk.postorder):
            if not before[node]:
                continue
            mask = everything
            for source in before[node]:
                mask &= dominators[source]
            mask |= 1 << node
            if mask != dominators[node]:
                dominators[node] = mask
                changed = True
    return {(s, i) for s, targets in enumerate(arcs) for i, t in enumerate(targets) if dominators[s] >> t & 1}


def _ranks(bottom_up: list[int]) -> tuple[int, ...]:
    ranks = [0] * len(bottom_up)
    for rank, node in enumerate(reversed(bottom_up)):
        ranks[node] = rank
    return tuple(ranks)


def _incoming(
    arcs: Arcs, back: set[tuple[int, int]], reachable: set[int]
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Forward arcs into each step. One that starts at an unreachable step can never be taken."""
    found: list[list[tuple[int, int]]] = [[] for _ in arcs]
    for source, targets in enumerate(arcs):
        for index, target in enumerate(targets):
            if (source, index) not in back and source in reachable:
                found[target].append((source, index))
    return tuple(map(tuple, found))


def _forward(forward: Arcs, bottom_up: list[int]) -> tuple[int, ...]:
    masks = [0] * len(forward)
    for node in bottom_up:
        mask = 1 << node
        for target in forward[node]:
            mask |= masks[target]
        masks[node] = mask
    return tuple(masks)


def _reach(arcs: Arcs) -> tuple[int, ...]:
    """Over any arcs: the steps of one circle reach the same; circles come out bottom up (Tarjan)."""
    masks = [0] * len(arcs)
    for circle in _circles(arcs):
        mask = 0
        for node in circle:
            mask |= 1 << node
            for target in arcs[node]:
                mask |= masks[target]
        for node in circle:
            masks[node] = mask
    return tuple(masks)


def _circles(arcs: Arcs) -> Iterator[list[int]]:
    """The strongly connected components, each after those it leads to."""
    number = [0] * len(arcs)
    low = [0] * len(arcs)
    open_nodes: list[int] = []
    is_open = [False] * len(arcs)
    count = 0
    for root in range(len(arcs)):
        if number[root]:
            continue
        stack = [(root, iter(arcs[root]))]
        count += 1
        number[root] = low[root] = count
        open_nodes.append(root)
        is_open[root] = True
        while stack:
            node, targets = stack[-1]
            for target in targets:
                if not number[target]:
                    count += 1
                    number[target] = low[target] = count
                    open_nodes.append(target)
                    is_open[target] = True
                    stack.append((target, iter(arcs[target])))
                    break
                if is_open[target]:
                    low[node] = min(low[node], number[target])
            else:
                stack.pop()
                if stack:
                    low[stack[-1][0]] = min(low[stack[-1][0]], low[node])
                if low[node] == number[node]:
                    yield _popped(open_nodes, is_open, node)


def _popped(open_nodes: list[int], is_open: list[bool], last: int) -> list[int]:
    circle = []
    while True:
        node = open_nodes.pop()
        is_open[node] = False
        circle.append(node)
        if node == last:
            return circle
