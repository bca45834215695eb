"""Proof that the log is the truth: fold it, decide again upon the facts from outside, and compare.

The decided facts must come out the same, one for one, and the rows that the store keeps beside the
log (the execution's status, its open calls) must be those that the folded state has.
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


class Kept(msgspec.Struct, kw_only=True):
    """What is kept beside the log: by the cache, and in rows."""

    state: ExecutionState
    status: str
    seq: int
    calls: dict[str, str]
    """Calls that are not closed, as `issued` or `parked`."""


def replay(playbook: Playbook, log: list[e.Event], kept: Kept) -> ReplayReport:
    """`log` is the whole log, in order."""
    differences: list[str] = []
    folded: ExecutionState | None = None
    for event in log:
        folded = fold(folded, e.decode(e.encode(event)))
    if folded is None:
        return ReplayReport(events=0, same=False, differences=["the log is empty"])
    if folded != msgspec.structs.replace(kept.state, untouched=None):
        differences.append("folding the log does not give the state that is kept")
    differences += _rows(folded, kept)
    differences += _decide_again(playbook, log)
    return ReplayReport(events=len(log), same=not differences, differences=differences[:SHOWN])


def _rows(folded: ExecutionState, kept: Kept) -> list[str]:
    found = []
    if (folded.status, folded.seq) != (kept.status, kept.seq):
        found.append(
            f"the log gives {folded.status} after {folded.seq} facts; the row of the execution says "
            f"{kept.status} after {kept.seq}"
        )
    calls = {call.call_id: "parked" if call.handle else "issued" for call in folded.calls.values()}
    return found + [
        f"call {call_id} is {calls.get(call_id, 'closed')} by the log, and "
        f"{kept.calls.get(call_id, 'closed')} by its row"
        for call_id in sorted(calls.keys() | kept.calls.keys())
        if calls.get(call_id) != kept.calls.get(call_id)
    ]


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
