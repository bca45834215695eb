"""The calls of a step run: which tool is called, again or next, and what its end leads to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from portcall import ids
from portcall.errors import ExpressionError
from portcall.model import event as e
from portcall.model.api import Command
from portcall.model.event import Error
from portcall.model.state import CallState, Frame, StepRun
from portcall.orchestrator import loops, retry
from portcall.orchestrator.scope import Output, Scope, of_frame
from portcall.playbook.model import Rule, Step, Then, Tool

if TYPE_CHECKING:
    from portcall.orchestrator.decide import Decision

LIST_ENTRIES = 10_000
"""Entries of one tool of a list in one pass: the bound on jumps that never end."""


def begin(decision: Decision, step: Step, run: StepRun) -> None:
    """The first call of a step run, or the start of its loop."""
    if step.loop is not None:
        loops.begin(decision, step, run)
    else:
        issue(decision, step, run, None, 0)


def issue(  # noqa: PLR0913 - the parts of a call's identity
    decision: Decision,
    step: Step,
    run: StepRun,
    iteration: int | None,
    position: int,
    again: retry.Again | None = None,
) -> None:
    """Write down the intent to call the tool at `position`, and queue the command."""
    frame = run.frames.get(iteration)
    entries = frame.entries.get(position, 0) if frame else 0
    entry, attempt = (entries, frame.attempt + 1) if frame and again else (entries + 1, 1)
    tool = step.tools[position]
    state = decision.state
    event = e.CommandIssued(
        **decision.common(),
        call_id=ids.call_id(state.execution_id, step.name, run.run, iteration, position, entry, attempt),
        step=step.name,
        run=run.run,
        iteration=iteration,
        position=position,
        entry=entry,
        attempt=attempt,
        kind=tool.kind,
        tool=tool.name if step.is_list else "",
        not_before=decision.now + timedelta(seconds=again.delay) if again and again.delay > 0 else None,
        grown=dict(again.grown) if again else {},
        cause=again.cause if again else "",
    )
    decision.emit(event)
    decision.commands.append(_command(decision, step, run, tool, event))


def _command(decision: Decision, step: Step, run: StepRun, tool: Tool, event: e.CommandIssued) -> Command:
    state = decision.state
    scope = Scope(state, step, run, run.frames[event.iteration])
    return Command(
        call_id=event.call_id,
        execution_id=state.execution_id,
        step=step.name,
        run=run.run,
        iteration=event.iteration,
        position=event.position,
        entry=event.entry,
        attempt=event.attempt,
        kind=tool.kind,
        playbook=state.path,
        tool=dict(tool.config),
        input={**step.input, **tool.input},
        scope=scope.values(tool.reads),
        expects=list(tool.expects.expects),
        returns=list(tool.expects.returns),
        grown=event.grown,
        traceparent=state.traceparent,
    )


def ended(decision: Decision, call: CallState, done: e.CallDone) -> None:
    """A call has its end: retry, rule, next tool, next iteration, or the end of the step."""
    run = decision.state.runs.get((call.step, call.run))
    frame = run.frames.get(call.iteration) if run else None
    if run is None or frame is None:
        return
    step = decision.playbook.steps[call.step]
    tool = step.tools[call.position]
    try:
        _judge(decision, step, run, frame, tool, done)
    except ExpressionError as error:
        message = f"step {step.name!r}: {error.message}"
        _fail(decision, step, run, frame, Error(kind="expression", message=message, step=step.name))


def _judge(  # noqa: PLR0913 - where the call stood
    decision: Decision, step: Step, run: StepRun, frame: Frame, tool: Tool, done: e.CallDone
) -> None:
    if not frame.ok:
        limits = _limits(decision, step, run, frame, tool) if any(r.grow for r in step.retry) else {}
        if again := retry.again(step.retry, frame, done, limits):
            issue(decision, step, run, frame.iteration, frame.position, again)
            return
    scope = Scope(decision.state, step, run, frame, of_frame(frame), decision.input_of(step, run))
    rule = next((r for r in tool.rules if r.when is None or decision.holds(r.when, scope)), None)
    if rule is not None:
        _follow(decision, step, run, frame, rule, scope)
    elif frame.ok:
        _go_on(decision, step, run, frame, tool)
    else:
        _fail(decision, step, run, frame, _error_of(done))


def _follow(  # noqa: PLR0913 - where the call stood
    decision: Decision, step: Step, run: StepRun, frame: Frame, rule: Rule, scope: Scope
) -> None:
    """Do what a policy rule says."""
    then = rule.then
    tool = step.tools[frame.position]
    error = frame.error
    match then.do:
        case "retry":
            number = frame.retries.get("policy", 0) + 1
            if number < then.attempts:
                delay = retry.rule_delay(then, number)
                again = retry.Again("policy", delay, frame.grown)
                issue(decision, step, run, frame.iteration, frame.position, again)
                return
            message = f"tool {tool.name!r} was to be tried again, and its {then.attempts} attempts are used up"
            _fail(decision, step, run, frame, error or Error(kind="policy", message=message, step=step.name))
            return
        case "fail":
            message = f"a policy rule of step {step.name!r} failed it"
            _fail(decision, step, run, frame, error or Error(kind="policy", message=message, step=step.name))
            return
        case "continue" | "break" | "jump":
            decision.apply_set(then.set, scope)
    if then.do == "jump":
        _jump(decision, step, run, frame, then)
    elif then.do == "break":
        _end_frame(decision, step, run, frame, forgiven=True)
    else:
        _go_on(decision, step, run, frame, tool)


def _jump(decision: Decision, step: Step, run: StepRun, frame: Frame, then: Then) -> None:
    position = next((i for i, tool in enumerate(step.tools) if tool.name == then.to), None)
    if position is None or frame.entries.get(position, 0) >= LIST_ENTRIES:
        message = f"step {step.name!r} jumped to {then.to!r} {LIST_ENTRIES} times"
        _fail(decision, step, run, frame, Error(kind="limit", message=message, step=step.name))
        return
    _move(decision, step, run, frame, position)


def _move(decision: Decision, step: Step, run: StepRun, frame: Frame, position: int) -> None:
    moved = e.FrameMoved(
        **decision.common(), step=step.name, run=run.run, iteration=frame.iteration, position=position
    )
    decision.emit(moved)
    issue(decision, step, run, frame.iteration, position)


def _go_on(decision: Decision, step: Step, run: StepRun, frame: Frame, tool: Tool) -> None:
    """The tool's `set`, then the next tool of the list, or the end of this pass."""
    if tool.set and frame.ok:
        scope = Scope(decision.state, step, run, frame, of_frame(frame), decision.input_of(step, run))
        decision.apply_set(tool.set, scope)
    if frame.position + 1 < len(step.tools):
        _move(decision, step, run, frame, frame.position + 1)
    else:
        _end_frame(decision, step, run, frame, forgiven=not frame.ok)


def _fail(decision: Decision, step: Step, run: StepRun, frame: Frame, error: Error) -> None:
    output = Output(ok=False, data=frame.data, error=error)
    _finish(decision, step, run, frame, output, forgiven=False)


def _end_frame(decision: Decision, step: Step, run: StepRun, frame: Frame, *, forgiven: bool) -> None:
    _finish(decision, step, run, frame, of_frame(frame), forgiven=forgiven)


def _finish(  # noqa: PLR0913 - where the call stood
    decision: Decision, step: Step, run: StepRun, frame: Frame, output: Output, *, forgiven: bool
) -> None:
    if step.loop is None:
        decision.end_step(step, run, output, forgiven=forgiven)
    else:
        loops.iteration_ended(decision, step, run, frame, output, forgiven=forgiven)


def expired(decision: Decision, call: CallState) -> None:
    """The worker of a call is gone. A container is dispatched again under the same call by the queue."""
    if call.kind == "container" or decision.state.status != "running":
        return
    run = decision.state.runs.get((call.step, call.run))
    frame = run.frames.get(call.iteration) if run else None
    if run is None or frame is None:
        return
    step = decision.playbook.steps[call.step]
    if frame.retries.get("expired", 0) < retry.EXPIRED_RETRIES:
        again = retry.Again("expired", 0.0, frame.grown)
        issue(decision, step, run, frame.iteration, frame.position, again)
        return
    message = f"the worker of step {step.name!r} vanished {retry.EXPIRED_RETRIES + 1} times while it ran"
    _fail(decision, step, run, frame, Error(kind="worker_lost", message=message, step=step.name))


def _error_of(done: e.CallDone) -> Error:
    return done.error or Error(kind=done.status, message=f"the call ended as {done.status}")


def _limits(decision: Decision, step: Step, run: StepRun, frame: Frame, tool: Tool) -> Mapping[str, Any]:
    resources = tool.config.get("resources")
    limits = resources.get("limits") if isinstance(resources, Mapping) else None
    if not isinstance(limits, Mapping):
        return {}
    rendered = decision.render(dict(limits), Scope(decision.state, step, run, frame))
    return rendered if isinstance(rendered, dict) else {}
