"""The graph against the plain definitions, on small random graphs; and its cost on long ones."""

from hypothesis import given
from hypothesis import strategies as st

from portcall.playbook import graph

Arcs = list[list[int]]


@st.composite
def arcs(draw: st.DrawFn) -> Arcs:
    count = draw(st.integers(1, 8))
    return draw(st.lists(st.lists(st.integers(0, count - 1), max_size=3), min_size=count, max_size=count))


def reached(arcs: Arcs, start: int, without: int = -1) -> set[int]:
    seen: set[int] = set()
    stack = [start] if start != without else []
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [target for target in arcs[node] if target != without]
    return seen


def members(mask: int) -> set[int]:
    return {i for i in range(mask.bit_length()) if mask >> i & 1}


def shape(arcs: Arcs) -> graph.Shape:
    return graph.build([f"s{i}" for i in range(len(arcs))], arcs, 0)


@given(arcs())
def test_an_arc_points_back_when_its_target_dominates_its_source(arcs: Arcs) -> None:
    found = shape(arcs)
    live = reached(arcs, 0)
    dominated = {
        (source, i)
        for source in live
        for i, target in enumerate(arcs[source])
        if source == target or source not in reached(arcs, 0, without=target)
    }
    assert {arc for arc in found.back - found.tangled if arc[0] in live} == dominated
    assert set(found.unreachable) == set(range(len(arcs))) - live


@given(arcs())
def test_forward_arcs_go_up_in_rank(arcs: Arcs) -> None:
    found = shape(arcs)
    rank = found.graph.rank
    assert sorted(rank) == list(range(len(arcs)))
    for source, targets in enumerate(arcs):
        for i, target in enumerate(targets):
            assert (source, i) in found.back or rank[source] < rank[target]


@given(arcs())
def test_the_masks_are_what_can_be_reached(arcs: Arcs) -> None:
    found = shape(arcs)
    forward = [[t for i, t in enumerate(targets) if (s, i) not in found.back] for s, targets in enumerate(arcs)]
    for node in range(len(arcs)):
        assert members(found.graph.reach[node]) == reached(arcs, node)
        assert members(found.graph.forward[node]) == reached(forward, node)


@given(arcs())
def test_incoming_are_the_forward_arcs_that_can_be_taken(arcs: Arcs) -> None:
    found = shape(arcs)
    live = reached(arcs, 0)
    for target, incoming in enumerate(found.graph.incoming):
        assert set(incoming) == {
            (s, i) for s in live for i, t in enumerate(arcs[s]) if t == target and (s, i) not in found.back
        }


def test_a_plain_loop_is_not_tangled_and_two_ways_in_are() -> None:
    loop = shape([[1], [2], [1, 3], []])
    assert loop.back == {(2, 0)}
    assert not loop.tangled
    two = shape([[1, 2], [2], [1]])
    assert two.back == two.tangled == {(2, 0)}


def test_an_unreachable_step_does_not_change_what_points_back() -> None:
    assert shape([[1], [2], [1], [2]]).back == {(2, 0)}


def test_thousands_of_steps_do_not_recurse_out() -> None:
    count = 3000
    chain = [[i + 1, 0, max(i - 1, 0)] for i in range(count - 1)] + [[]]
    found = shape(chain)
    assert found.graph.rank == tuple(range(count))
    assert found.graph.reach[5] == (1 << count) - 1
