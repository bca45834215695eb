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
from portcall.model.state import CallState, StepRun
from portcall.orchestrator import loops, retry
from portcall.orchestrator.scope import Output, Scope, of_frame
from portcall.orchestrator.spot import Spot, where
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
        issue(decision, Spot(step, run), 0)


def issue(decision: Decision, spot: Spot, position: int, again: retry.Again | None = None) -> None:
    """Write down the intent to call the tool at `position`, and queue the command."""
    step, run, iteration = spot
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
    decision.commands.append(_command(decision, spot, tool, event))


def _command(decision: Decision, spot: Spot, tool: Tool, event: e.CommandIssued) -> Command:
    state = decision.state
    scope = Scope(state, spot.step, spot.run, spot.frame)
    return Command(
        call_id=event.call_id,
        execution_id=state.execution_id,
        step=event.step,
        run=event.run,
        iteration=event.iteration,
        position=event.position,
        entry=event.entry,
        attempt=event.attempt,
        kind=tool.kind,
        playbook=state.path,
        line=spot.step.line,
        tool=dict(tool.config),
        input={**spot.step.input, **tool.input},
        scope=scope.values(tool.reads),
        expects=list(tool.expects.expects),
        returns=list(tool.expects.returns),
        grown=event.grown,
        traceparent=state.traceparent,
    )


def _spot(decision: Decision, call: CallState) -> Spot | None:
    """Where the call stood; None when its step run or its pass has ended."""
    run = decision.state.runs.get((call.step, call.run))
    if run is None or call.iteration not in run.frames:
        return None
    return Spot(decision.playbook.steps[call.step], run, call.iteration)


def ended(decision: Decision, call: CallState, done: e.CallDone) -> None:
    """A call has its end: retry, rule, next tool, next iteration, or the end of the step."""
    spot = _spot(decision, call)
    if spot is None:
        return
    try:
        _judge(decision, spot, done)
    except ExpressionError as error:
        message = f"{where(spot.step)}: {error.message}"
        _fail(decision, spot, Error(kind="expression", message=message, step=call.step))


def _judge(decision: Decision, spot: Spot, done: e.CallDone) -> None:
    frame = spot.frame
    if not frame.ok:
        limits = _limits(decision, spot) if any(entry.grow for entry in spot.step.retry) else {}
        if again := retry.again(spot.step.retry, frame, done, limits):
            issue(decision, spot, frame.position, again)
            return
    if spot.tool.rules:
        scope = _scope(decision, spot)
        for rule in spot.tool.rules:
            if rule.when is None or decision.holds(rule.when, scope):
                _follow(decision, spot, rule, scope)
                return
    if frame.ok:
        _set(decision, spot)
        _next(decision, spot)
    else:
        _fail(decision, spot, done.error or Error(kind=done.status, message=f"it ended as {done.status}"))


def _scope(decision: Decision, spot: Spot) -> Scope:
    """What the rules and the `set` of the present tool see."""
    frame = spot.frame
    values = decision.input_of(spot)
    return Scope(decision.state, spot.step, spot.run, frame, of_frame(frame), values)


def _follow(decision: Decision, spot: Spot, rule: Rule, scope: Scope) -> None:
    """Do what a policy rule says."""
    then, frame, name = rule.then, spot.frame, spot.step.name
    if then.do not in ("retry", "fail"):
        _set(decision, spot)
    decision.apply_set(then.set, scope)
    match then.do:
        case "retry":
            number = frame.retries.get("policy", 0) + 1
            if number < then.attempts:
                again = retry.Again("policy", retry.rule_delay(then, number), frame.grown)
                issue(decision, spot, frame.position, again)
                return
            message = f"a rule of step {name!r} asks for another try, and all {then.attempts} are used up"
            _fail(decision, spot, frame.error or Error(kind="policy", message=message, step=name))
            return
        case "fail":
            message = f"a policy rule of step {name!r} failed it"
            _fail(decision, spot, frame.error or Error(kind="policy", message=message, step=name))
            return
        case "jump":
            _jump(decision, spot, then)
        case "break":
            _finish(decision, spot, of_frame(frame), forgiven=True)
        case "continue":
            _next(decision, spot)


def _jump(decision: Decision, spot: Spot, then: Then) -> None:
    position = next((i for i, tool in enumerate(spot.step.tools) if tool.name == then.to), None)
    if position is None or spot.frame.entries.get(position, 0) >= LIST_ENTRIES:
        name = spot.step.name
        message = f"step {name!r} jumped to its tool {then.to!r} {LIST_ENTRIES} times"
        _fail(decision, spot, Error(kind="limit", message=message, step=name))
        return
    _move(decision, spot, position)


def _move(decision: Decision, spot: Spot, position: int) -> None:
    step, run, iteration = spot
    moved = e.FrameMoved(
        **decision.common(), step=step.name, run=run.run, iteration=iteration, position=position
    )
    decision.emit(moved)
    issue(decision, spot, position)


def _set(decision: Decision, spot: Spot) -> None:
    """The tool's own `set`."""
    if spot.tool.set:
        decision.apply_set(spot.tool.set, _scope(decision, spot))


def _next(decision: Decision, spot: Spot) -> None:
    """The next tool of the list, or the end of this pass."""
    frame = spot.frame
    if frame.position + 1 < len(spot.step.tools):
        _move(decision, spot, frame.position + 1)
    else:
        _finish(decision, spot, of_frame(frame), forgiven=not frame.ok)


def _fail(decision: Decision, spot: Spot, error: Error) -> None:
    _finish(decision, spot, Output(ok=False, data=spot.frame.data, error=error), forgiven=False)


def _finish(decision: Decision, spot: Spot, output: Output, *, forgiven: bool) -> None:
    if spot.step.loop is None:
        decision.end_step(spot.step, spot.run, output, forgiven=forgiven)
    else:
        loops.iteration_ended(decision, spot, output, forgiven=forgiven)


def expired(decision: Decision, call: CallState, event: e.CommandExpired) -> None:
    """The worker of a call is gone. A container is dispatched again under the same call by the queue.

    A call that takes its worker down again and again is given up; who resumes is not counted.
    """
    if call.kind == "container" or decision.state.status != "running":
        return
    spot = _spot(decision, call)
    if spot is None:
        return
    frame = spot.frame
    if frame.retries.get("expired", 0) < retry.EXPIRED_RETRIES:
        cause = "expired" if event.reason == "lease" else "resumed"
        issue(decision, spot, frame.position, retry.Again(cause, 0.0, frame.grown))
        return
    message = f"the worker of step {call.step!r} vanished {retry.EXPIRED_RETRIES + 1} times while it ran"
    _fail(decision, spot, Error(kind="worker_lost", message=message, step=call.step))


def _limits(decision: Decision, spot: Spot) -> Mapping[str, Any]:
    resources = spot.tool.config.get("resources")
    limits = resources.get("limits") if isinstance(resources, Mapping) else None
    if not isinstance(limits, Mapping):
        return {}
    rendered = decision.render(dict(limits), Scope(decision.state, spot.step, spot.run, spot.frame))
    return rendered if isinstance(rendered, dict) else {}
