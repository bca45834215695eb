"""An execution for people: the state, with every step of the playbook in it."""

from __future__ import annotations

from datetime import datetime

from portcall.model.api import CallView, ExecutionView, LoopView, StepStatus, StepView
from portcall.model.state import CallState, ExecutionState, Frame, LoopRun, StepRun, StepState
from portcall.playbook.model import Playbook, Step

CALLS = 100
"""Open calls shown of one step."""


def view(playbook: Playbook, state: ExecutionState, now: datetime) -> ExecutionView:
    """`now` ends the clock of what is still running."""
    calls: dict[str, list[CallState]] = {}
    for call in state.calls.values():
        calls.setdefault(call.step, []).append(call)
    runs: dict[str, StepRun] = {run.step: run for run in state.runs.values()}
    return ExecutionView(
        execution_id=state.execution_id,
        path=state.path,
        status=state.status,
        started=state.started,
        ended=state.ended,
        duration_s=round(((state.ended or now) - state.started).total_seconds(), 3),
        error=state.error,
        workload=state.workload,
        steps={
            name: _step(step, state.steps.get(name), runs.get(name), calls.get(name, []))
            for name, step in playbook.steps.items()
        },
        arcs={name: [arc.step for arc in step.arcs] for name, step in playbook.steps.items()},
        seq=state.seq,
    )


def _step(step: Step, known: StepState | None, run: StepRun | None, calls: list[CallState]) -> StepView:
    kind = "list" if step.is_list else step.tools[0].kind
    if known is None:
        return StepView(status="pending", kind=kind)
    loop = run.loop if run else known.loop
    return StepView(
        status=_status(known, run, calls),
        kind=kind,
        runs=known.runs,
        attempts=run.attempts if run else known.attempts,
        data=known.data if run is None else None,
        outcome=known.outcome,
        error=known.error if run is None else None,
        started=known.started,
        ended=known.ended,
        calls=[_call(call, run.frames.get(call.iteration) if run else None) for call in calls[:CALLS]],
        loop=_loop(loop, run) if loop else None,
    )


def _status(known: StepState, run: StepRun | None, calls: list[CallState]) -> StepStatus:
    if run is not None:
        return "parked" if calls and all(call.handle is not None for call in calls) else "running"
    return known.status or "pending"


def _loop(loop: LoopRun, run: StepRun | None) -> LoopView:
    running = len(run.frames) if run else 0
    return LoopView(total=len(loop.items), success=loop.success, failed=loop.failed, running=running)


def _call(call: CallState, frame: Frame | None) -> CallView:
    return CallView(
        call_id=call.call_id,
        iteration=call.iteration,
        attempt=call.attempt,
        status="parked" if call.handle is not None else "pending",
        phase="retrying" if call.not_before is not None else call.phase,
        where=call.where,
        since=call.since or call.not_before or call.issued_at,
        message=call.message,
        handle=call.handle,
        after=_after(frame) if frame is not None and call.attempt > 1 else "",
        grown=call.grown,
    )


def _after(frame: Frame) -> str:
    """How the last call of the pass ended that did end."""
    if frame.outcome is not None:
        return frame.outcome.state
    return frame.error.kind if frame.error is not None else ""
