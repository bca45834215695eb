"""What follows from a fact: `decide(playbook, state, event)`. Pure: no I/O, no clock, no chance.

Every fact that comes in and every fact decided upon it is folded at once, so that the next decision
sees it. The result is the facts in order, and the commands that go with those `command.issued`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from portcall.errors import ExpressionError
from portcall.expression import names as names_in
from portcall.expression import render, test
from portcall.model import event as e
from portcall.model.api import Command
from portcall.model.event import Error
from portcall.model.state import ExecutionState, StepRun, fold
from portcall.orchestrator import calls, ending, loops, routing
from portcall.orchestrator.scope import Output, Scope
from portcall.orchestrator.spot import Spot, where
from portcall.playbook.model import Arc, Playbook, Step

STEP_ENTRIES = 100_000
"""Entries of one step in one execution: the bound on back arcs that never end."""


class Decision:
    """The facts and commands that follow from one incoming fact."""

    def __init__(self, playbook: Playbook, state: ExecutionState | None, now: datetime) -> None:
        self.playbook = playbook
        self._state = state
        self.now = now
        self.events: list[e.Event] = []
        self.commands: list[Command] = []
        self._entries: list[str] = []

    @property
    def state(self) -> ExecutionState:
        assert self._state is not None, "no fact came in yet"  # noqa: S101 - for the type checker
        return self._state

    def emit(self, event: e.Event) -> None:
        """Append to the log, and fold."""
        event.seq = (self._state.seq if self._state else 0) + 1
        self._state = fold(self._state, event)
        self.events.append(event)

    def on(self, event: e.External) -> None:
        """A fact came in."""
        call_id = getattr(event, "call_id", None)
        call = self._state.calls.get(call_id) if self._state and call_id else None
        self.emit(event)
        match event:
            case e.ExecutionStarted():
                self._entries.append("start")
            case e.CallDone() if call is not None:
                if self.state.status == "running":
                    calls.ended(self, call, event)
            case e.CommandExpired() if call is not None:
                calls.expired(self, call, event)
            case e.CallOverdue() if call is not None:
                ending.overdue(self, call)
            case e.ExecutionCancelRequested():
                ending.stop_open_calls(self)
            case _:
                return
        self.settle()

    # -- steps ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Enter what is ready, skip what can no longer be reached, end when nothing is left."""
        state = self.state
        while state.status == "running":
            if self._entries:
                self._enter(self._entries.pop(0))
            elif state.waiting and (ready := routing.next_ready(self.playbook, state)):
                self._enter(ready)
            else:
                break
        if state.ended is None:
            ending.settle(self)

    def _enter(self, name: str) -> None:
        step = self.playbook.steps[name]
        state = self.state
        routing.touch(self.playbook, state, name)
        known = state.step(name)
        if known.runs >= STEP_ENTRIES:
            self.fail(Error(kind="limit", message=f"step {name!r} was entered {STEP_ENTRIES} times", step=name))
            return
        try:
            skip = step.when is not None and not self.holds(step.when, Scope(state, step))
        except ExpressionError as error:
            self.fail(Error(kind="expression", message=f"`when` of {where(step)}: {error.message}", step=name))
            return
        if skip:
            self.emit(e.StepSkipped(**self.common(), step=name, reason="when"))
            return
        self.emit(e.StepEntered(**self.common(), step=name, run=known.runs + 1))
        calls.begin(self, step, state.runs[name, known.runs])

    def end_step(self, step: Step, run: StepRun, output: Output, *, forgiven: bool = False) -> None:
        """The tools of a step run are through: `set`, then the arcs, then what they lead to.

        `forgiven`: a policy rule has taken care of the failure.
        """
        going_on = output.ok or forgiven
        frame = run.frames.get(None)
        try:
            values = self.input_of(Spot(step, run))
            scope = Scope(self.state, step, run, frame, output, values, ended=True)
            if going_on:
                self.apply_set(_step_level(step), scope)
            taken = self._choose(step, scope, failed=not going_on)
        except ExpressionError as error:
            problem = Error(kind="expression", message=f"{where(step)}: {error.message}", step=step.name)
            output = Output(ok=False, data=output.data, error=problem)
            going_on, taken = False, []
        handled = bool(taken) if not going_on else forgiven
        self.emit(
            e.StepEnded(
                **self.common(),
                step=step.name,
                run=run.run,
                status="completed" if going_on else "failed",
                error=output.error,
                handled=handled,
            )
        )
        if not going_on and not handled:
            ending.stop_open_calls(self)
        for index, arc in taken:
            self._take(step, run, index, arc, scope)

    def _choose(self, step: Step, scope: Scope, *, failed: bool) -> list[tuple[int, Arc]]:
        """The arcs that hold. After a failure only those that read the step's own outcome can."""
        taken: list[tuple[int, Arc]] = []
        for index, arc in enumerate(step.arcs):
            if failed and not arc.reads_outcome:
                continue
            if arc.when is None or self.holds(arc.when, scope):
                taken.append((index, arc))
                if step.mode == "exclusive":
                    break
        return taken

    def _take(self, step: Step, run: StepRun, index: int, arc: Arc, scope: Scope) -> None:
        if arc.set:
            try:
                self.apply_set(arc.set, scope)
            except ExpressionError as error:
                message = f"`set` of the arc to {arc.step!r} of {where(step)}: {error.message}"
                self.fail(Error(kind="expression", message=message, step=step.name))
                return
        self.emit(
            e.ArcTaken(**self.common(), step=step.name, run=run.run, arc=index, target=arc.step, back=arc.back)
        )
        if arc.back:
            self._entries.append(arc.step)

    def fail(self, error: Error) -> None:
        """The execution fails for a reason that is no call's."""
        self.emit(e.ExecutionFailing(**self.common(), error=error))
        ending.stop_open_calls(self)

    # -- expressions ------------------------------------------------------------------------

    def holds(self, condition: str | bool, scope: Scope) -> bool:  # noqa: FBT001 - a condition is one
        if isinstance(condition, bool):
            return condition
        return test(condition, scope.values(names_in(condition)))

    def render(self, value: Any, scope: Scope) -> Any:
        return render(value, scope.values(names_in(value)))

    def input_of(self, spot: Spot) -> Mapping[str, Any] | None:
        """The call's input as `set`, rules and arcs see it, by name; None when there is none.

        A value that cannot be rendered is its error, which only reading that value raises: a rule or
        an arc must still be able to take care of the call that failed by it.
        """
        frame = spot.run.frames.get(spot.iteration)
        tool = spot.step.tools[
            frame.position if frame else 0
        ]  # a loop that is over stands at none of its passes
        given = {**spot.step.input, **tool.input}
        if not given:
            return None
        scope = Scope(self.state, spot.step, spot.run, frame)
        return {key: self._rendered(value, scope) for key, value in given.items()}

    def _rendered(self, value: Any, scope: Scope) -> Any:
        try:
            return self.render(value, scope)
        except ExpressionError as error:
            return error

    def apply_set(self, targets: Mapping[str, Any], scope: Scope) -> None:
        if not targets or scope.step is None or scope.run is None:
            return
        values = {target: self.render(value, scope) for target, value in targets.items()}
        frame = scope.frame
        self.emit(
            e.ContextSet(
                **self.common(),
                step=scope.step.name,
                run=scope.run.run,
                iteration=frame.iteration if frame else None,
                values=values,
            )
        )

    def common(self) -> dict[str, Any]:
        """The fields that every fact has."""
        return {"execution_id": self.state.execution_id, "at": self.now}


def _step_level(step: Step) -> Mapping[str, Any]:
    """Of a loop's `set`, what is not each iteration's own."""
    if step.loop is None or not step.set:
        return step.set
    return {t: value for t, value in step.set.items() if not loops.of_iteration(step, t, value)}


def decide(
    playbook: Playbook, state: ExecutionState | None, event: e.External, now: datetime
) -> tuple[ExecutionState, list[e.Event], list[Command]]:
    """The state, the facts to append (`event` first), and the commands to queue. Changes `state`."""
    decision = Decision(playbook, state, now)
    decision.on(event)
    return decision.state, decision.events, decision.commands
