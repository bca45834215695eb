"""Proof that the log is the truth: decide again upon the facts from outside, and compare.

The decided facts must come out the same, one for one, and the state must be the one that is kept.
"""

from __future__ import annotations

import msgspec

from portcall.model import event as e
from portcall.model.state import ExecutionState, fold
from portcall.orchestrator.decide import decide
from portcall.playbook.model import Playbook

SHOWN = 20


class ReplayReport(msgspec.Struct, kw_only=True):
    events: int
    same: bool
    differences: list[str]


def replay(playbook: Playbook, log: list[e.Event], kept: ExecutionState) -> ReplayReport:
    """`log` is the whole log, in order; `kept` the state the store and its cache stand for."""
    differences: list[str] = []
    folded: ExecutionState | None = None
    for event in log:
        folded = fold(folded, e.decode(e.encode(event)))
    if folded != msgspec.structs.replace(kept, untouched=None):
        differences.append("folding the log does not give the state that is kept")
    differences += _decide_again(playbook, log)
    return ReplayReport(events=len(log), same=not differences, differences=differences[:SHOWN])


def _decide_again(playbook: Playbook, log: list[e.Event]) -> list[str]:
    state: ExecutionState | None = None
    expected: list[e.Event] = []
    differences: list[str] = []
    for event in log:
        if isinstance(event, e.External):
            differences += [f"decided now, and not in the log: {_name(lost)}" for lost in expected]
            # The decision takes the clock of its transaction, which the facts it wrote carry.
            fresh = e.decode(e.encode(event))
            state, events, _ = decide(playbook, state, fresh, event.at)  # type: ignore[arg-type] # checked above
            expected = events[1:]
        elif not expected:
            differences.append(f"in the log, and not decided now: {_name(event)}")
        else:
            again = expected.pop(0)
            if not _same(event, again):
                differences.append(f"in the log: {_name(event)}; decided now: {_name(again)}")
    return differences


def _same(logged: e.Event, again: e.Event) -> bool:
    """Equal but for the clock."""
    left, right = msgspec.to_builtins(logged), msgspec.to_builtins(again)
    for fact in (left, right):
        fact.pop("at")
        fact.pop("not_before", None)
    return bool(left == right)


def _name(event: e.Event) -> str:
    where = getattr(event, "step", "") or getattr(event, "call_id", "")
    return f"#{event.seq} {e.type_of(event)} {where}".rstrip()
