"""The state of an execution: what the log of facts adds up to.

`fold` is the only way to change it. It holds no decision: which fact follows which is the
orchestrator's business; here a fact only leaves its mark. State in memory is a cache of the log
and may be dropped at any time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, assert_never

import msgspec

from portcall.model import event as e
from portcall.model.event import Error
from portcall.model.outcome import Handle, Outcome

Status = Literal["running", "cancelling", "failing", "completed", "failed", "cancelled"]


class CallState(msgspec.Struct):
    """An open call: issued, or parked outside."""

    call_id: str
    step: str
    run: int
    iteration: int | None
    position: int
    entry: int
    attempt: int
    kind: str
    issued_at: datetime
    not_before: datetime | None = None
    grown: dict[str, str] = msgspec.field(default_factory=dict)
    handle: Handle | None = None
    parked_at: datetime | None = None
    resume_at: datetime | None = None
    timeout_seconds: float | None = None
    phase: str = ""
    where: str = ""
    since: datetime | None = None
    message: str = ""
    overdue: bool = False
    stop: Literal["cancel", "deadline"] | None = None


class Frame(msgspec.Struct):
    """One pass through the tools of a step: of the whole step, or of one iteration of its loop."""

    iteration: int | None
    position: int = 0
    entries: dict[int, int] = msgspec.field(default_factory=dict)
    """How often each position of the list was entered."""
    attempt: int = 0
    retries: dict[str, int] = msgspec.field(default_factory=dict)
    """Retries of the present entry, by cause."""
    grown: dict[str, str] = msgspec.field(default_factory=dict)
    call: str | None = None
    """The open call."""
    ok: bool = False
    """Whether the last call ended well."""
    data: Any = None
    error: Error | None = None
    outcome: Outcome | None = None
    tool: str = ""
    """The present tool's name, in a list of tools."""
    results: dict[str, Any] = msgspec.field(default_factory=dict)
    """Data of each tool of a list that has ended, by name."""
    errors: dict[str, Error] = msgspec.field(default_factory=dict)
    """Of those that failed, and whose failure a rule took care of."""
    names: dict[str, Any] = msgspec.field(default_factory=dict)
    """Bare names that a list's tools have set."""
    iter: dict[str, Any] = msgspec.field(default_factory=dict)
    """`iter.x`."""


class LoopRun(msgspec.Struct):
    items: list[Any]
    next: int = 0
    """The first iteration that has not begun."""
    results: list[Any] = msgspec.field(default_factory=list)
    success: int = 0
    failed: int = 0
    error: Error | None = None

    @property
    def ended(self) -> int:
        return self.success + self.failed


class StepRun(msgspec.Struct):
    """One entry of a step that has not ended."""

    step: str
    run: int
    started: datetime
    vars: dict[str, Any] = msgspec.field(default_factory=dict)
    """`step.x`."""
    frames: dict[int | None, Frame] = msgspec.field(default_factory=dict)
    """Passes under way, by iteration."""
    loop: LoopRun | None = None
    attempts: int = 0


class StepState(msgspec.Struct):
    runs: int = 0
    skipped: bool = False
    arrived: set[tuple[str, int]] = msgspec.field(default_factory=set)
    """Incoming arcs that were taken and not yet answered by an entry: (source, arc)."""
    status: e.StepStatus | None = None
    """How the last run ended; None while there is none or one is under way."""
    finished: bool = False
    """Whether a run has ended: its result stays readable while the step runs again."""
    ok: bool = True
    """False where the last run's output is an error, handled or not."""
    data: Any = None
    results: dict[str, Any] = msgspec.field(default_factory=dict)
    """Data of each tool of a list, by name."""
    error: Error | None = None
    outcome: Outcome | None = None
    attempts: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    loop: LoopRun | None = None


class ExecutionState(msgspec.Struct):
    execution_id: str
    playbook: str
    path: str
    workload: dict[str, Any]
    started: datetime
    traceparent: str = ""
    status: Status = "running"
    ctx: dict[str, Any] = msgspec.field(default_factory=dict)
    steps: dict[str, StepState] = msgspec.field(default_factory=dict)
    runs: dict[tuple[str, int], StepRun] = msgspec.field(default_factory=dict)
    """Active step runs."""
    calls: dict[str, CallState] = msgspec.field(default_factory=dict)
    """Open calls."""
    waiting: set[str] = msgspec.field(default_factory=set)
    """Steps at which something has arrived."""
    error: Error | None = None
    ended: datetime | None = None
    seq: int = 0
    untouched: int | None = None
    """The orchestrator's cache: steps neither entered nor skipped, as a bit mask."""

    def step(self, name: str) -> StepState:
        found = self.steps.get(name)
        if found is None:
            found = self.steps[name] = StepState()
        return found


def run_result(run: StepRun) -> Any:
    """The data of a step run: of its call, of its list of tools, or of its loop."""
    if run.loop is not None:
        stats = {"total": len(run.loop.items), "success": run.loop.success, "failed": run.loop.failed}
        return {"results": list(run.loop.results), "stats": stats}
    frame = run.frames.get(None)
    return frame_result(frame) if frame else None


def frame_result(frame: Frame) -> Any:
    """A list's result is its last tool's, with each tool's own under `results` if it has no such key."""
    if not frame.results:
        return frame.data
    if frame.data is None or isinstance(frame.data, dict):
        return {"results": dict(frame.results), **(frame.data or {})}
    return frame.data


def fold(state: ExecutionState | None, event: e.Event) -> ExecutionState:
    """The state after `event`. Changes `state` in place and gives it back."""
    if state is None:
        if not isinstance(event, e.ExecutionStarted):
            raise TypeError(f"a log begins with execution.started, not {e.type_of(event)}")
        state = ExecutionState(
            execution_id=event.execution_id,
            playbook=event.playbook,
            path=event.path,
            workload=event.workload,
            started=event.at,
            traceparent=event.traceparent,
        )
    else:
        _apply(state, event)
    state.seq = event.seq
    return state


def _apply(state: ExecutionState, event: e.Event) -> None:  # noqa: C901, PLR0912, PLR0915 - one arm for each fact
    match event:
        case e.CallDone():
            _call_done(state, event)
        case e.CommandIssued():
            _command_issued(state, event)
        case e.StepEntered():
            _step_entered(state, event)
        case e.StepEnded():
            _step_ended(state, event)
        case e.ArcTaken():
            if not event.back:
                state.step(event.target).arrived.add((event.step, event.arc))
                state.waiting.add(event.target)
        case e.StepSkipped():
            step = state.step(event.step)
            step.skipped, step.status = True, "skipped"
            step.arrived.clear()
            state.waiting.discard(event.step)
        case e.ContextSet():
            _context_set(state, event)
        case e.LoopStarted():
            items = event.items
            state.runs[event.step, event.run].loop = LoopRun(items=items, results=[None] * len(items))
        case e.IterationEnded():
            _iteration_ended(state, event)
        case e.FrameMoved():
            _frame_moved(state, event)
        case e.CallParked():
            _call_parked(state, event)
        case e.CallProgress():
            _call_progress(state, event)
        case e.CommandDeferred():
            if call := state.calls.get(event.call_id):
                call.not_before, call.message = event.not_before, event.reason
        case e.CommandExpired():
            _command_expired(state, event)
        case e.CallOverdue():
            if call := state.calls.get(event.call_id):
                call.overdue = True
        case e.CallStopRequested():
            if call := state.calls.get(event.call_id):
                call.stop = event.reason
        case e.ExecutionCancelRequested():
            if state.status == "running":
                state.status = "cancelling"
        case e.ExecutionFailing():
            if state.status == "running":
                state.status, state.error = "failing", event.error
        case e.ExecutionEnded():
            state.status, state.ended = event.status, event.at
            state.error = event.error or state.error
        case e.CallStale() | e.CallLog() | e.ExecutionStarted():
            pass
        case _:
            assert_never(event)


def _frame(state: ExecutionState, call: CallState) -> tuple[StepRun, Frame] | None:
    run = state.runs.get((call.step, call.run))
    frame = run.frames.get(call.iteration) if run else None
    return (run, frame) if run and frame else None


def _step_entered(state: ExecutionState, event: e.StepEntered) -> None:
    step = state.step(event.step)
    step.runs, step.skipped, step.status = event.run, False, None
    step.started, step.ended = event.at, None
    step.arrived.clear()
    state.waiting.discard(event.step)
    state.runs[event.step, event.run] = StepRun(step=event.step, run=event.run, started=event.at)


def _command_issued(state: ExecutionState, event: e.CommandIssued) -> None:
    run = state.runs[event.step, event.run]
    frame = run.frames.get(event.iteration)
    if frame is None:
        frame = run.frames[event.iteration] = Frame(iteration=event.iteration)
        if run.loop is not None and event.iteration is not None:
            run.loop.next = event.iteration + 1
    if frame.entries.get(event.position) != event.entry:
        frame.retries = {}
        frame.entries[event.position] = event.entry
    if event.cause:
        frame.retries[event.cause] = frame.retries.get(event.cause, 0) + 1
    frame.position, frame.attempt, frame.tool = event.position, event.attempt, event.tool
    frame.grown, frame.call, frame.ok = event.grown, event.call_id, False
    run.attempts = max(run.attempts, event.attempt)
    state.calls[event.call_id] = CallState(
        call_id=event.call_id,
        step=event.step,
        run=event.run,
        iteration=event.iteration,
        position=event.position,
        entry=event.entry,
        attempt=event.attempt,
        kind=event.kind,
        issued_at=event.at,
        not_before=event.not_before,
        grown=event.grown,
    )


def _call_parked(state: ExecutionState, event: e.CallParked) -> None:
    call = state.calls.get(event.call_id)
    if call is None or call.handle is not None:
        return
    call.handle, call.parked_at = event.handle, event.at
    call.resume_at, call.timeout_seconds = event.resume_at, event.timeout_seconds
    call.not_before, call.message = None, ""
    if not call.phase:
        call.phase, call.since = "created", event.at


def _call_progress(state: ExecutionState, event: e.CallProgress) -> None:
    if call := state.calls.get(event.call_id):
        call.phase, call.message = event.phase, event.message
        call.where = event.where or call.where
        call.since = event.since or event.at


def _command_expired(state: ExecutionState, event: e.CommandExpired) -> None:
    """A container keeps its call: dispatching it again is idempotent. Any other call is superseded."""
    call = state.calls.get(event.call_id)
    if call is None or call.kind == "container":
        return
    del state.calls[event.call_id]
    if found := _frame(state, call):
        found[1].call = None


def _call_done(state: ExecutionState, event: e.CallDone) -> None:
    call = state.calls.pop(event.call_id, None)
    found = _frame(state, call) if call else None
    if found is None or call is None:
        return
    frame = found[1]
    frame.call = None
    frame.ok = event.status == "success"
    frame.data, frame.error, frame.outcome = event.data, event.error, event.outcome
    if frame.tool:
        frame.results[frame.tool] = event.data
        frame.errors.pop(frame.tool, None)
        if event.error is not None:
            frame.errors[frame.tool] = event.error


def _frame_moved(state: ExecutionState, event: e.FrameMoved) -> None:
    frame = state.runs[event.step, event.run].frames[event.iteration]
    frame.position, frame.attempt, frame.retries, frame.grown = event.position, 0, {}, {}


def _context_set(state: ExecutionState, event: e.ContextSet) -> None:
    run = state.runs.get((event.step, event.run))
    frame = run.frames.get(event.iteration) if run else None
    for target, value in event.values.items():
        scope, dot, name = target.partition(".")
        if scope == "ctx" and dot:
            _put(state.ctx, name, value)
        elif scope == "step" and dot and run is not None:
            _put(run.vars, name, value)
        elif scope == "iter" and dot and frame is not None:
            _put(frame.iter, name, value)
        elif not dot and frame is not None:
            frame.names[target] = value


def _put(into: dict[str, Any], path: str, value: Any) -> None:
    """`a.b` sets `b` in the mapping `a`, made where it is missing."""
    *parents, last = path.split(".")
    for parent in parents:
        inner = into.get(parent)
        into[parent] = into = dict(inner) if isinstance(inner, dict) else {}
    into[last] = value


def _iteration_ended(state: ExecutionState, event: e.IterationEnded) -> None:
    run = state.runs[event.step, event.run]
    frame = run.frames.pop(event.iteration, None)
    if run.loop is None:
        return
    if event.status == "completed":
        run.loop.success += 1
        run.loop.results[event.iteration] = frame_result(frame) if frame else None
    else:
        run.loop.failed += 1
        run.loop.error = run.loop.error or event.error
    if frame is not None and frame.outcome is not None:
        state.step(event.step).outcome = frame.outcome


def _step_ended(state: ExecutionState, event: e.StepEnded) -> None:
    run = state.runs.pop((event.step, event.run))
    step = state.step(event.step)
    step.status, step.error, step.ended = event.status, event.error, event.at
    step.finished = True
    step.ok = event.error is None and event.status == "completed"
    step.data, step.attempts, step.started = run_result(run), run.attempts, run.started
    step.loop = run.loop
    frame = run.frames.get(None)
    step.results = dict(frame.results) if frame else {}
    step.outcome = frame.outcome if frame else step.outcome
    if event.status == "failed" and not event.handled and state.status == "running":
        state.status, state.error = "failing", event.error
