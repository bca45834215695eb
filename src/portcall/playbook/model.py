"""A checked playbook, ready to run: what the loader makes and everything else reads.

Values that may hold templates are kept as written (JSON data); they are rendered where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Template = Any
"""JSON data whose strings may hold `{{ ... }}`."""
Condition = str | bool
RuleAction = Literal["continue", "retry", "jump", "break", "fail"]


class Then(msgspec.Struct, frozen=True):
    """What a policy rule does. `delay` in seconds; `attempts` counts the first call."""

    do: RuleAction = "continue"
    attempts: int = 3
    backoff: Literal["none", "fixed", "linear", "exponential"] = "none"
    delay: float = 1.0
    to: str | None = None
    set: Mapping[str, Template] = msgspec.field(default_factory=dict)


class Rule(msgspec.Struct, frozen=True):
    """One of `spec.policy.rules`. `when` None is the `else`."""

    when: Condition | None
    then: Then


class Assertion(msgspec.Struct, frozen=True):
    """`assert: {expects, returns}`: names that must be there before and after."""

    expects: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()


class Tool(msgspec.Struct, frozen=True):
    """One tool of a step. `kind: workbook` is already replaced by the tool it names."""

    name: str
    kind: str
    config: Mapping[str, Template]
    input: Mapping[str, Template] = msgspec.field(default_factory=dict)
    set: Mapping[str, Template] = msgspec.field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    expects: Assertion = Assertion()
    reads: frozenset[str] | None = None
    """Dotted names that the tool's templates read, such as `fetch.data.x`; None when everything may be
    read (python `context`)."""


class Backoff(msgspec.Struct, frozen=True):
    """Seconds."""

    initial: float = 2.0
    factor: float = 2.0
    max: float = 120.0
    jitter: bool = True


class Retry(msgspec.Struct, frozen=True):
    """One entry of a step's `retry`. `on`: a class, a state, an error kind, or `any`."""

    on: tuple[str, ...]
    max_attempts: int
    backoff: Backoff = Backoff()
    grow: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Limit name to factor, such as {"memory": "2x"}."""
    up_to: Mapping[str, str] = msgspec.field(default_factory=dict)


class Loop(msgspec.Struct, frozen=True):
    items: Template
    iterator: str
    mode: Literal["sequential", "parallel", "cursor"] = "sequential"
    max_in_flight: int | None = None


class Arc(msgspec.Struct, frozen=True):
    step: str
    when: Condition | None = None
    set: Mapping[str, Template] = msgspec.field(default_factory=dict)
    reads_outcome: bool = False
    """Whether `when` reads the outcome of its own step, so that it can handle a failure."""
    back: bool = False
    """Whether the target dominates the source: it is entered at once, and no join waits for it."""


class Step(msgspec.Struct, frozen=True):
    name: str
    index: int
    tools: tuple[Tool, ...]
    is_list: bool = False
    desc: str = ""
    when: Condition | None = None
    input: Mapping[str, Template] = msgspec.field(default_factory=dict)
    set: Mapping[str, Template] = msgspec.field(default_factory=dict)
    retry: tuple[Retry, ...] = ()
    loop: Loop | None = None
    mode: Literal["exclusive", "inclusive"] = "exclusive"
    arcs: tuple[Arc, ...] = ()
    line: int = 0


class Graph(msgspec.Struct, frozen=True):
    """Steps by index, with reachability as bit masks (bit i: step i), for the join rule."""

    order: tuple[str, ...]
    """Step names by index."""
    rank: tuple[int, ...]
    """Place of each step in a topological order of the forward arcs."""
    incoming: tuple[tuple[tuple[int, int], ...], ...]
    """For each step its forward incoming arcs, as (source index, arc index)."""
    forward: tuple[int, ...]
    """Steps that each step reaches over forward arcs, itself included."""
    reach: tuple[int, ...]
    """Steps that each step reaches over any arcs, itself included."""


class Playbook(msgspec.Struct, frozen=True):
    name: str
    path: str
    steps: Mapping[str, Step]
    graph: Graph
    workload: Mapping[str, Any]
    source: str
    digest: str
    version: str = ""
    desc: str = ""
    keychain: tuple[Mapping[str, Any], ...] = ()
    file: str = ""
    notes: tuple[str, ...] = ()
    """Warnings and notes of the checker, one line each."""
