"""Which step comes next: joins, skips and back arcs, by reachability.

A step with several incoming arcs runs once, when every live incoming branch has arrived. An arc is
live while an active step can still reach its source, over any arcs, or a waiting join over forward
arcs. That one definition gives joins after exclusive choices, skips that propagate, and loops whose
exits wait for the last round. Pure: masks in, names out (bit i stands for step i).
"""

from __future__ import annotations

from collections.abc import Iterator

from portcall.model.state import ExecutionState
from portcall.playbook.model import Graph, Playbook


def active_mask(playbook: Playbook, state: ExecutionState) -> int:
    """Steps with a run under way."""
    mask = 0
    for name, _ in state.runs:
        mask |= 1 << playbook.steps[name].index
    return mask


def _union(masks: tuple[int, ...], members: int) -> int:
    result = 0
    while members:
        low = members & -members
        result |= masks[low.bit_length() - 1]
        members ^= low
    return result


def next_ready(playbook: Playbook, state: ExecutionState) -> str | None:
    """The first waiting step, in topological order, that waits for nothing more."""
    graph = playbook.graph
    indices = {playbook.steps[name].index: name for name in state.waiting}
    live: int | None = None
    for index in sorted(indices, key=lambda i: graph.rank[i]):
        name = indices[index]
        missing = _missing_sources(graph, state, name, index)
        if not missing:
            return name
        if live is None:
            live = _union(graph.reach, active_mask(playbook, state))
        others = sum(1 << other for other in indices if other != index)
        if not missing & (live | _union(graph.forward, others)):
            return name
    return None


def _missing_sources(graph: Graph, state: ExecutionState, name: str, index: int) -> int:
    arrived = state.steps[name].arrived
    mask = 0
    for source, arc in graph.incoming[index]:
        if (graph.order[source], arc) not in arrived:
            mask |= 1 << source
    return mask


def never_reached(playbook: Playbook, state: ExecutionState) -> Iterator[str]:
    """The untouched steps that nothing live can reach any more, in topological order."""
    graph = playbook.graph
    untouched = _untouched(playbook, state)
    live = 0
    if state.status == "running":
        live = active_mask(playbook, state)
        for name in state.waiting:
            live |= 1 << playbook.steps[name].index
    dead = untouched & ~_union(graph.reach, live)
    found = [i for i in range(len(graph.order)) if dead >> i & 1] if dead else []
    for index in sorted(found, key=lambda i: graph.rank[i]):
        yield graph.order[index]


def touch(playbook: Playbook, state: ExecutionState, name: str) -> None:
    """The step was entered or skipped."""
    state.untouched = _untouched(playbook, state) & ~(1 << playbook.steps[name].index)


def _untouched(playbook: Playbook, state: ExecutionState) -> int:
    if state.untouched is None:
        mask = (1 << len(playbook.graph.order)) - 1
        for name, step in state.steps.items():
            if step.runs or step.skipped:
                mask &= ~(1 << playbook.steps[name].index)
        state.untouched = mask
    return state.untouched
