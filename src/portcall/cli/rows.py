"""What the table of an execution says: a view becomes a header and rows of text. Pure.

The rows are the same on a live screen, in `show` and in a pipe; only the drawing differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portcall.cli.outline import essence
from portcall.cli.text import clean, compact, duration, elapsed, one_line, plural
from portcall.model.api import CallView, ExecutionView, LoopView, StepView

CONTAINER_RUNTIMES = frozenset({"process", "docker", "kubernetes"})
MARK = {
    "pending": "·",
    "running": "▶",
    "parked": "◆",
    "completed": "✓",
    "failed": "✗",
    "skipped": "-",
    "cancelled": "⊘",
    "cancelling": "⊘",
    "failing": "✗",
}
ACTIVE = frozenset({"running", "parked"})
_VIEW_HOLDS_CALLS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `status` chooses mark and colour; `child` is a call below its step."""

    status: str
    name: str
    kind: str = ""
    attempts: str = ""
    tries: str = ""
    """The attempts in words, for a screen without a column for them."""
    elapsed: str = ""
    detail: str = ""
    child: bool = False


def in_flight(view: ExecutionView) -> int:
    """Containers that run outside now."""
    return sum(_parked(step) for step in view.steps.values())


def _parked(step: StepView) -> int:
    there = sum(
        call.status == "parked" and call.handle is not None and call.handle.runtime in CONTAINER_RUNTIMES
        for call in step.calls
    )
    # A view names at most 100 calls; a loop with all of them outside has as many as it has running.
    if step.loop is not None and len(step.calls) >= _VIEW_HOLDS_CALLS and there == len(step.calls):
        return max(there, step.loop.running)
    return there


def header(view: ExecutionView, now: datetime) -> str:
    """`demo/train · 7301 · running · 12.3s`."""
    parts = [clean(view.path) or "playbook", view.execution_id, view.status]
    return " · ".join([*parts, elapsed(view.started, view.ended, now)])


def capacity(view: ExecutionView, slots: tuple[int, int] | None) -> str:
    """`slots 0/1 busy · 7 containers in flight · 3/5 steps done`; `slots` is (busy, all) where known."""
    done = sum(step.status not in ACTIVE | {"pending"} for step in view.steps.values())
    parts = [f"slots {slots[0]}/{slots[1]} busy"] if slots else []
    parts.append(f"{plural(in_flight(view), 'container')} in flight")
    return " · ".join([*parts, f"{done}/{len(view.steps)} steps done"])


def rows(view: ExecutionView, now: datetime, budget: int | None = None) -> list[Row]:
    """The steps in the playbook's order, on at most `budget` lines (None: all).

    What is active, failed or ended last is kept; the rest becomes a line with counts. Lines that
    are left over name the containers of loops one by one.
    """
    names = list(view.steps) if budget is None else _chosen(view, budget)
    left = 0 if budget is None else budget - len(names) - (len(names) < len(view.steps))
    table: list[Row] = []
    for name in names:
        step = view.steps[name]
        table.append(step_row(name, step, now))
        if step.status in ACTIVE and step.loop is not None and left > 0:
            children = _children(step, now, left)
            left -= len(children)
            table.extend(children)
    hidden = [step for name, step in view.steps.items() if name not in set(names)]
    return [*table, _collapsed(hidden)] if hidden else table


def _chosen(view: ExecutionView, budget: int) -> list[str]:
    if len(view.steps) <= budget:
        return list(view.steps)

    def worth(item: tuple[int, tuple[str, StepView]]) -> tuple[int, float]:
        index, (_, step) = item
        if step.status in ACTIVE:
            return (0, index)
        if step.status == "failed":
            return (1, index)
        if step.ended is not None:
            return (2, -step.ended.timestamp())
        return (3, index) if step.status == "pending" else (4, index)

    best = sorted(enumerate(view.steps.items()), key=worth)[: max(budget - 1, 1)]
    return [name for _, (name, _) in sorted(best)]


def _collapsed(hidden: list[StepView]) -> Row:
    counts: dict[str, int] = {}
    for step in hidden:
        counts[step.status] = counts.get(step.status, 0) + 1
    text = ", ".join(f"{count} {status}" for status, count in counts.items())
    return Row("pending", "…", detail=f"{len(hidden)} more: {text}")


def step_row(name: str, step: StepView, now: datetime) -> Row:
    run = f"run {step.runs}" if step.runs > 1 else ""
    attempts = str(step.attempts) if step.attempts > 1 else ""
    return Row(
        status=step.status,
        name=clean(name),
        kind=step.kind,
        attempts=f"{attempts or 1} ({run})" if run else attempts,
        tries=" · ".join(part for part in (run, _tries(step.attempts, active=step.status in ACTIVE)) if part),
        elapsed=elapsed(step.started, step.ended, now),
        detail=_detail(step),
    )


def _tries(attempts: int, *, active: bool) -> str:
    if attempts <= 1:
        return ""
    return f"attempt {attempts}" if active else f"{attempts} attempts"


def _detail(step: StepView) -> str:
    if step.error is not None and step.status in {"failed", "cancelled"}:
        return one_line(step.error.message)
    if step.loop is not None:
        return _progress(step)
    if step.status in ACTIVE:
        return where(step.calls[-1]) if step.calls else ""
    return compact(essence(step.data)) if step.status == "completed" else ""


def _progress(step: StepView) -> str:
    loop = step.loop or LoopView(total=0)
    parts = [f"{loop.success + loop.failed}/{loop.total}"]
    if loop.failed:
        parts.append(f"{loop.failed} failed")
    outside = _parked(step)
    if outside:
        parts.append(f"{outside} in flight")
    elif loop.running and step.status in ACTIVE:
        parts.append(f"{loop.running} running")
    return " · ".join(parts)


def where(call: CallView) -> str:
    """`memory 96Mi, after failed_oom · started · pid 4242 · message` of an open call."""
    repeated = [f"{name} {value}" for name, value in call.grown.items()]
    repeated += [f"after {call.after}"] if call.after else []
    phase = call.phase or ("parked" if call.status == "parked" else "")
    parts = (", ".join(repeated), phase, call.where, call.message)
    return one_line(" · ".join(part for part in parts if part))


def _children(step: StepView, now: datetime, left: int) -> list[Row]:
    calls = [call for call in step.calls if call.status in ACTIVE]
    shown = calls if len(calls) <= left else calls[: left - 1]
    table = [_child(call, now) for call in shown]
    if len(shown) < len(calls):
        count = max(len(calls), _parked(step)) - len(shown)
        table.append(Row("parked", "…", detail=f"{count} more", child=True))
    return table


def _child(call: CallView, now: datetime) -> Row:
    return Row(
        status=call.status,
        name="" if call.iteration is None else f"[{call.iteration}]",
        attempts=str(call.attempt) if call.attempt > 1 else "",
        tries=_tries(call.attempt, active=True),
        elapsed=duration((now - call.since).total_seconds()) if call.since else "",
        detail=where(call),
        child=True,
    )
