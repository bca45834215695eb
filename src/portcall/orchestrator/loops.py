"""Loops: which iterations begin, and when the loop is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from portcall.errors import ExpressionError
from portcall.expression import roots
from portcall.model import event as e
from portcall.model.event import Error
from portcall.model.state import StepRun, run_result
from portcall.orchestrator import calls
from portcall.orchestrator.scope import LOOP_NAMES, Output, Scope
from portcall.orchestrator.spot import Spot, where
from portcall.playbook.model import Step

if TYPE_CHECKING:
    from portcall.orchestrator.decide import Decision

_WORDS = {
    type(None): "nothing", str: "text", int: "a number", float: "a number", bool: "a boolean", dict: "a map",
}  # fmt: skip


def begin(decision: Decision, step: Step, run: StepRun) -> None:
    """Evaluate the list, once, and begin as many iterations as may run."""
    assert step.loop is not None  # noqa: S101 - the caller has looked
    try:
        items = decision.render(step.loop.items, Scope(decision.state, step, run))
    except ExpressionError as error:
        _refuse(decision, step, run, f"`loop.in` of {where(step)}: {error.message}")
        return
    if not isinstance(items, list):
        found = _WORDS.get(type(items), "something else")
        _refuse(decision, step, run, f"`loop.in` of {where(step)} must give a list, and gave {found}")
        return
    decision.emit(e.LoopStarted(**decision.common(), step=step.name, run=run.run, items=items))
    _continue(decision, step, run)


def _refuse(decision: Decision, step: Step, run: StepRun, message: str) -> None:
    error = Error(kind="expression", message=message, step=step.name)
    decision.end_step(step, run, Output(ok=False, data=None, error=error, event="loop.failed"))


def _continue(decision: Decision, step: Step, run: StepRun) -> None:
    loop, spec = run.loop, step.loop
    assert loop is not None  # noqa: S101 - begun
    assert spec is not None  # noqa: S101 - begun
    total = len(loop.items)
    if spec.mode == "sequential" and loop.failed:
        _end(decision, step, run)
        return
    room = 1 if spec.mode == "sequential" else spec.max_in_flight or total
    while loop.next < total and len(run.frames) < room:
        calls.issue(decision, Spot(step, run, loop.next), 0)
    if loop.ended == total:
        _end(decision, step, run)


def iteration_ended(decision: Decision, spot: Spot, output: Output, *, forgiven: bool) -> None:
    """One pass is through: its own part of the step's `set`, then the next."""
    step, run, iteration = spot
    assert iteration is not None  # noqa: S101 - a loop's
    error = output.error
    if output.ok or forgiven:
        mine = {t: v for t, v in step.set.items() if of_iteration(step, t, v)}
        try:
            values = decision.input_of(spot) if mine else None
            decision.apply_set(mine, Scope(decision.state, step, run, spot.frame, output, values))
        except ExpressionError as caught:
            message = f"`set` of {where(step)}: {caught.message}"
            error, forgiven = Error(kind="expression", message=message, step=step.name), False
    failed = error is not None and not forgiven
    decision.emit(
        e.IterationEnded(
            **decision.common(),
            step=step.name,
            run=run.run,
            iteration=iteration,
            status="failed" if failed else "completed",
            error=error,
        )
    )
    _continue(decision, step, run)


def of_iteration(step: Step, target: str, value: Any) -> bool:
    """Whether a `set` entry of a loop is each iteration's: it writes `iter.` or reads the loop's names."""
    if step.loop is None:
        return False
    return target.startswith("iter.") or not roots(value).isdisjoint(LOOP_NAMES | {step.loop.iterator})


def _end(decision: Decision, step: Step, run: StepRun) -> None:
    loop = run.loop
    assert loop is not None  # noqa: S101 - begun
    error = None
    if loop.failed:
        first = loop.error or Error(kind="exception", message="no reason was given")
        message = f"{loop.failed} of {len(loop.items)} iterations failed; the first: {first.message}"
        error = Error(kind=first.kind, message=message, retryable=first.retryable, step=step.name)
    event = "loop.failed" if loop.failed else "loop.done"
    decision.end_step(step, run, Output(ok=error is None, data=run_result(run), error=error, event=event))
