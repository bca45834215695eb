"""How an execution ends: nothing is left to do, something failed, or somebody asked.

Nothing is ended while it still runs: a failed or cancelled execution waits for its open calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portcall.model import event as e
from portcall.model.state import CallState, StepRun
from portcall.orchestrator import routing

if TYPE_CHECKING:
    from portcall.orchestrator.decide import Decision


def stop_open_calls(decision: Decision) -> None:
    """Ask every open call to stop; their ends come as facts."""
    for call in list(decision.state.calls.values()):
        if call.stop is None:
            decision.emit(e.CallStopRequested(**decision.common(), call_id=call.call_id, reason="cancel"))


def overdue(decision: Decision, call: CallState) -> None:
    """Past its deadline: the watcher is asked to stop it and to say what it finds."""
    if call.stop is None:
        decision.emit(e.CallStopRequested(**decision.common(), call_id=call.call_id, reason="deadline"))


def settle(decision: Decision) -> None:
    """Skip what can no longer be reached; end the execution when nothing is left to do."""
    state = decision.state
    if state.status == "running":
        _skip(decision)
        if not state.runs and not state.waiting:
            decision.emit(e.ExecutionEnded(**decision.common(), status="completed"))
        return
    if state.calls:
        return
    for run in list(state.runs.values()):
        _end_run(decision, run)
    _skip(decision)
    status: e.ExecutionEnd = "failed" if state.status == "failing" else "cancelled"
    decision.emit(e.ExecutionEnded(**decision.common(), status=status, error=state.error))


def _skip(decision: Decision) -> None:
    for name in list(routing.never_reached(decision.playbook, decision.state)):
        routing.touch(decision.playbook, decision.state, name)
        decision.emit(e.StepSkipped(**decision.common(), step=name, reason="not_reached"))


def _end_run(decision: Decision, run: StepRun) -> None:
    """A step that was under way when the execution ended: what its last call shows."""
    frame = run.frames.get(None)
    last = len(decision.playbook.steps[run.step].tools) - 1
    status: e.StepStatus = "cancelled"
    error = None
    if frame is not None and frame.ok and frame.position == last:
        status = "completed"
    elif frame is not None and frame.error is not None and frame.error.kind != "cancelled":
        status, error = "failed", frame.error
    decision.emit(
        e.StepEnded(
            **decision.common(),
            step=run.step,
            run=run.run,
            status=status,
            error=error,
            handled=error is not None,
        )
    )
