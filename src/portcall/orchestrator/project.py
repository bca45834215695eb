"""From facts to rows: the queue, the open calls and the timers are projections of the log.

A fact may ask for another one to follow in the same transaction: a call that nobody has begun is
withdrawn, and so has ended.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from portcall import ids
from portcall.model import event as e
from portcall.model.api import Command
from portcall.model.state import CallState, ExecutionState
from portcall.orchestrator.retry import LONGEST_SECONDS
from portcall.store.port import Transaction

OVERDUE_SLACK = timedelta(seconds=30)
"""Beyond `timeout_seconds`, before the server asks the watcher: the runtime keeps the deadline itself."""
_encode = msgspec.json.Encoder().encode


class Projection:
    """Writes the facts of one decision. `follow` are the facts that the rows call for."""

    def __init__(self, transaction: Transaction, state: ExecutionState, now: datetime) -> None:
        self._tx = transaction
        self._state = state
        self._execution = int(state.execution_id)
        self._now = now
        self.follow: list[e.External] = []
        self.commands = 0
        self.stops = 0
        self.timers = 0
        self.bytes = 0
        """Of the facts written."""

    def write(self, events: list[e.Event], commands: list[Command]) -> None:
        waiting = iter(commands)
        for event in events:
            match event:
                case e.CommandIssued():
                    self._issue(event, next(waiting))
                case e.CallDone():
                    self._done(event)
                case e.CallParked():
                    self._parked(event)
                case e.CallProgress():
                    self._progress(event)
                case e.CommandExpired():
                    self._expired(event)
                case e.CallStopRequested():
                    self._stop(event)
                case e.CommandDeferred():
                    self._deferred(event)
                case e.CallOverdue():
                    self._tx.run("mark_overdue", call_id=event.call_id)
                    self._tx.run("drop_timer", call_id=event.call_id, kind="overdue")
                case _:
                    pass
        bodies = [e.encode(event) for event in events]
        self.bytes = sum(map(len, bodies))
        self._tx.many(
            "put_event",
            [
                {"execution": self._execution, "seq": v.seq, "event_id": v.event_id or None, "body": body}
                for v, body in zip(events, bodies, strict=True)
            ],
        )
        self._move()

    def _move(self) -> None:
        moved = {"id": self._execution, "seq": self._state.seq, "status": self._state.status}
        if self._state.ended is None:
            self._tx.run("move_execution", **moved)
        else:
            self._tx.run("end_execution", **moved, ended=self._state.ended.timestamp())

    def _issue(self, event: e.CommandIssued, command: Command) -> None:
        self._tx.run(
            "put_call", call_id=event.call_id, execution=self._execution, step=event.step, kind=event.kind
        )
        not_before = event.not_before.timestamp() if event.not_before else 0.0
        body = _encode(command)
        self._tx.run(
            "put_command",
            call_id=event.call_id,
            execution=self._execution,
            not_before=not_before,
            body=body,
            now=self._now.timestamp(),
        )
        self.commands += 1
        self.timers += not_before > 0

    def _done(self, event: e.CallDone) -> None:
        self._tx.run("close_call", call_id=event.call_id)
        self._tx.run("drop_timers", call_id=event.call_id)

    def _parked(self, event: e.CallParked) -> None:
        self._tx.run("drop_command", call_id=event.call_id)
        call = self._state.calls.get(event.call_id)
        if call is None:
            return
        handle = _encode(event.handle).decode()
        self._tx.run(
            "park_call",
            call_id=event.call_id,
            runtime=event.handle.runtime,
            handle=handle,
            at=event.at.timestamp(),
        )
        if event.resume_at is not None:
            self._timer(event.call_id, "resume", event.resume_at)
        self._deadline(call)
        if call.stop is not None:
            self._tell_stop(event.call_id, event.handle.runtime)

    def _progress(self, event: e.CallProgress) -> None:
        if call := self._state.calls.get(event.call_id):
            self._deadline(call)

    def _deadline(self, call: CallState) -> None:
        """Counted from the start of the container. That may be told before the call is parked."""
        if call.phase != "started" or call.since is None or call.timeout_seconds is None:
            return
        seconds = min(call.timeout_seconds, LONGEST_SECONDS)
        self._timer(call.call_id, "overdue", call.since + timedelta(seconds=seconds) + OVERDUE_SLACK)

    def _timer(self, call_id: str, kind: str, due: datetime) -> None:
        self._tx.run("put_timer", call_id=call_id, kind=kind, execution=self._execution, due_at=due.timestamp())
        self.timers += 1

    def _deferred(self, event: e.CommandDeferred) -> None:
        call = self._state.calls.get(event.call_id)
        if call is not None and call.stop is not None and call.kind != "container":
            self._tx.run("drop_command", call_id=event.call_id)
            self._follow_cancelled(event.call_id, "it was cancelled before it began")
        self.timers += 1

    def _expired(self, event: e.CommandExpired) -> None:
        if event.call_id in self._state.calls:
            self._tx.run("unclaim_command", call_id=event.call_id)
            self.commands += 1
        else:
            self._tx.run("drop_command", call_id=event.call_id)
            self._tx.run("close_call", call_id=event.call_id)

    def _stop(self, event: e.CallStopRequested) -> None:
        self._tx.run("stop_call", call_id=event.call_id, reason=event.reason)
        if self._tx.run("withdraw_command", call_id=event.call_id):
            self._follow_cancelled(event.call_id, "it was cancelled before it began")
            return
        self._tx.run("stop_command", call_id=event.call_id)
        call = self._state.calls.get(event.call_id)
        if call is not None and call.handle is not None:
            self._tell_stop(event.call_id, call.handle.runtime)
        self.stops += 1

    def _tell_stop(self, call_id: str, runtime: str) -> None:
        if runtime == "timer":
            self._follow_cancelled(call_id, "it was cancelled while it waited")
            return
        self._tx.run("tell_stop", call_id=call_id)
        self.stops += 1

    def _follow_cancelled(self, call_id: str, message: str) -> None:
        self.follow.append(
            e.CallDone(
                execution_id=self._state.execution_id,
                at=self._now,
                event_id=ids.event_id(call_id, "call.done"),
                call_id=call_id,
                status="cancelled",
                error=e.Error(kind="cancelled", message=message),
            )
        )
