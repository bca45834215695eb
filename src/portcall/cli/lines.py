"""The events of an execution as lines for people: `12:03:04  train  parked  process job-1`. Pure.

For pipes, logs and several executions at once. A loop says each tenth of its way, not each item.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from portcall.cli.text import clean, duration, one_line, time_of_day
from portcall.model.event import (
    ArcTaken,
    CallDone,
    CallLog,
    CallOverdue,
    CallParked,
    CallProgress,
    CallStale,
    CallStopRequested,
    CommandDeferred,
    CommandExpired,
    CommandIssued,
    ContextSet,
    Event,
    ExecutionCancelRequested,
    ExecutionEnded,
    ExecutionFailing,
    ExecutionStarted,
    FrameMoved,
    IterationEnded,
    LoopStarted,
    StepEnded,
    StepEntered,
    StepSkipped,
)

EACH_ITEM = 20
"""Loops of at most this many items get lines for each of them."""


@dataclass(slots=True)
class _Loop:
    total: int
    done: int = 0
    failed: int = 0


@dataclass(slots=True)
class Lines:
    """Feeds on events in order. `prefix` goes after the time, to tell executions apart."""

    prefix: str = ""
    _calls: dict[str, CommandIssued] = field(default_factory=dict)
    _loops: dict[str, _Loop] = field(default_factory=dict)
    _entered: dict[str, StepEntered] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)

    def feed(self, event: Event) -> str | None:
        """The event's line, or None when it is no change that a person waits for."""
        said = self._text(event)
        if said is None:
            return None
        what, text = said
        parts = (time_of_day(event.at), self.prefix, clean(what), text)
        return "  ".join(part for part in parts if part)

    def _text(self, event: Event) -> tuple[str, str] | None:  # noqa: PLR0911 - one for each group of events
        match event:
            case ExecutionStarted():
                return f"execution {event.execution_id}", f"started  {one_line(event.path)}"
            case ExecutionCancelRequested():
                return f"execution {event.execution_id}", f"cancelling  {one_line(event.reason)}".rstrip()
            case ExecutionFailing():
                return f"execution {event.execution_id}", f"failing  {one_line(event.error.message)}"
            case ExecutionEnded():
                message = f"  {one_line(event.error.message)}" if event.error else ""
                return f"execution {event.execution_id}", f"{event.status}{message}"
            case StepEntered() | StepSkipped() | StepEnded() | LoopStarted() | IterationEnded():
                return self._step(event)
            case CommandIssued() | CommandDeferred() | CommandExpired():
                return self._command(event)
            case CallParked() | CallProgress() | CallOverdue() | CallStopRequested() | CallDone() | CallStale():
                return self._call(event)
            case ArcTaken() | ContextSet() | FrameMoved() | CallLog():
                return None
            case _:
                assert_never(event)

    def _step(
        self, event: StepEntered | StepSkipped | StepEnded | LoopStarted | IterationEnded
    ) -> tuple[str, str] | None:
        match event:
            case StepEntered():
                self._entered[event.step] = event
                self._loops.pop(event.step, None)
                return None
            case StepSkipped():
                return event.step, "skipped"
            case LoopStarted():
                self._loops[event.step] = _Loop(len(event.items))
                return event.step, f"loop of {len(event.items)}"
            case IterationEnded():
                return self._iteration(event)
            case StepEnded():
                return event.step, self._ended(event)

    def _ended(self, event: StepEnded) -> str:
        entered = self._entered.get(event.step)
        took = f"  {duration((event.at - entered.at).total_seconds())}" if entered else ""
        message = event.error.message if event.error else ""
        known = self._said.pop(event.step, None) == message
        handled = "  (handled by the playbook)" if event.handled and event.status == "failed" else ""
        return f"{event.status}{took}{'' if known or not message else '  ' + one_line(message)}{handled}"

    def _iteration(self, event: IterationEnded) -> tuple[str, str] | None:
        loop = self._loops.get(event.step)
        if loop is None:
            return None
        loop.done += 1
        loop.failed += event.status == "failed"
        share = max(loop.total // 10, 1)
        if loop.total > EACH_ITEM and loop.done % share and loop.done != loop.total:
            return None
        failed = f"  {loop.failed} failed" if loop.failed else ""
        return event.step, f"{loop.done}/{loop.total}{failed}"

    def _command(self, event: CommandIssued | CommandDeferred | CommandExpired) -> tuple[str, str] | None:
        if isinstance(event, CommandIssued):
            self._calls[event.call_id] = event
            if event.attempt > 1:
                grown = "".join(f"  {name} {value}" for name, value in event.grown.items())
                return self._name(event.call_id), f"attempt {event.attempt}{grown}"
            return None if self._quiet(event.call_id) else (self._name(event.call_id), f"running  {event.kind}")
        if isinstance(event, CommandDeferred):
            return self._name(
                event.call_id
            ), f"put off until {time_of_day(event.not_before)}  {one_line(event.reason)}"
        return self._name(event.call_id), "worker gone, another takes over"

    def _call(
        self, event: CallParked | CallProgress | CallOverdue | CallStopRequested | CallDone | CallStale
    ) -> tuple[str, str] | None:
        name = self._name(event.call_id)
        match event:
            case CallParked():
                handle = " ".join(part for part in (event.handle.runtime, event.handle.name) if part)
                return None if self._quiet(event.call_id) else (name, f"parked  {one_line(handle)}")
            case CallProgress():
                parts = (event.phase, event.where, event.message)
                text = "  ".join(one_line(part) for part in parts if part)
                return None if self._quiet(event.call_id) else (name, text)
            case CallOverdue():
                return name, "overdue"
            case CallStopRequested():
                return name, f"stopping  ({event.reason})"
            case CallStale():
                return None
            case CallDone():
                return self._done(event)

    def _done(self, event: CallDone) -> tuple[str, str] | None:
        issued = self._calls.pop(event.call_id, None)
        if event.status != "error" or event.error is None or issued is None:
            return None
        message = event.error.message
        self._said[issued.step] = message
        return _call_name(issued), f"failed  {one_line(message)}"

    def _name(self, call_id: str) -> str:
        issued = self._calls.get(call_id)
        return _call_name(issued) if issued else f"call {call_id[:8]}"

    def _quiet(self, call_id: str) -> bool:
        """Whether the call is one of a long loop, of which only failures and counts are said."""
        issued = self._calls.get(call_id)
        if issued is None:
            return True
        loop = self._loops.get(issued.step)
        return issued.iteration is not None and loop is not None and loop.total > EACH_ITEM


def _call_name(issued: CommandIssued) -> str:
    return issued.step if issued.iteration is None else f"{issued.step}[{issued.iteration}]"
