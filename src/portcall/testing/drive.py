"""Drive a playbook through the pure engine by hand: no store, no worker, no clock but one's own.

drive = Drive(playbook, workload={"n": 1})
drive.answer("fetch", {"rows": 3})
drive.fail("load", kind="timeout")
assert drive.status == "completed"
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from portcall import ids
from portcall.model import event as e
from portcall.model.api import Command
from portcall.model.ending import done_by
from portcall.model.outcome import Evidence, Handle, State, outcome
from portcall.model.state import ExecutionState, fold
from portcall.orchestrator.decide import decide
from portcall.orchestrator.replay import Kept, ReplayReport, replay
from portcall.playbook.model import Playbook

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Drive:
    """One execution. `open` are the commands whose calls have not ended, in order of issue."""

    def __init__(
        self, playbook: Playbook, workload: dict[str, Any] | None = None, execution_id: str = "1"
    ) -> None:
        self.playbook = playbook
        self.log: list[e.Event] = []
        self.now = BEGIN
        self.state: ExecutionState | None = None
        self.commands: dict[str, Command] = {}
        self._execution_id = execution_id
        self.take(
            e.ExecutionStarted(
                execution_id=execution_id,
                at=self.now,
                playbook=playbook.digest,
                path=playbook.path or playbook.name,
                workload={**playbook.workload, **(workload or {})},
            )
        )

    def take(self, event: e.External) -> list[e.Event]:
        """Take a fact in; the facts that came of it."""
        self.now += timedelta(milliseconds=1)
        event.at = self.now
        self.state, events, commands = decide(self.playbook, self.state, event, self.now)
        self.log += [e.decode(e.encode(each)) for each in events]
        self.commands.update({command.call_id: command for command in commands})
        return events

    @property
    def known(self) -> ExecutionState:
        assert self.state is not None, "it has started"  # noqa: S101 - a test's tool
        return self.state

    @property
    def open(self) -> list[Command]:
        return [self.commands[call] for call in self.known.calls]

    @property
    def status(self) -> str:
        return self.known.status

    def call(self, step: str, iteration: int | None = None) -> Command:
        """The open call of a step (and iteration)."""
        for command in self.open:
            if command.step == step and iteration in (None, command.iteration):
                return command
        raise LookupError(f"step {step!r} has no open call; open: {[c.step for c in self.open]}")

    def answer(self, step: str, data: Any = None, iteration: int | None = None) -> list[e.Event]:
        """The call of a step ends well."""
        return self.done(self.call(step, iteration), data)

    def done(self, command: Command, data: Any = None) -> list[e.Event]:
        return self.take(self._done(command, status="success", data=data))

    def fail(
        self, step: str, kind: str = "exception", message: str = "it broke", iteration: int | None = None
    ) -> list[e.Event]:
        """The call of a step ends in an error."""
        command = self.call(step, iteration)
        error = e.Error(kind=kind, message=message, step=step)
        return self.take(self._done(command, status="error", error=error))

    def end_container(
        self, step: str, state: State = "succeeded", iteration: int | None = None, **fields: Any
    ) -> list[e.Event]:
        """The container of a step ends with this outcome."""
        command = self.call(step, iteration)
        fields.setdefault("evidence", Evidence(level="full"))
        fields.setdefault("message", f"it ended as {state}")
        ending = done_by(
            outcome(state, attempt=command.attempt, **fields),
            call_id=command.call_id,
            execution_id=self._execution_id,
            at=self.now,
            step=step,
        )
        return self.take(ending)

    def park(self, step: str, iteration: int | None = None) -> list[e.Event]:
        command = self.call(step, iteration)
        handle = Handle(runtime="process", name=f"job-{command.call_id[:8]}", uid="1")
        return self.take(
            e.CallParked(
                execution_id=self._execution_id,
                at=self.now,
                event_id=ids.event_id(command.call_id, "call.parked"),
                call_id=command.call_id,
                handle=handle,
            )
        )

    def expire(
        self, step: str, iteration: int | None = None, reason: Literal["lease", "resumed"] = "lease"
    ) -> list[e.Event]:
        """The worker that held the call of a step is gone."""
        call = self.call(step, iteration).call_id
        return self.take(
            e.CommandExpired(
                execution_id=self._execution_id,
                at=self.now,
                call_id=call,
                worker_id="w",
                claim=1,
                reason=reason,
            )
        )

    def cancel(self) -> list[e.Event]:
        return self.take(e.ExecutionCancelRequested(execution_id=self._execution_id, at=self.now))

    def runs(self, step: str) -> int:
        """How often the step was entered."""
        known = self.known.steps.get(step)
        return known.runs if known else 0

    def step_status(self, step: str) -> str:
        known = self.known.steps.get(step)
        if known is None or not (known.runs or known.skipped):
            return "pending"
        return known.status or "running"

    def folded(self) -> ExecutionState:
        """What the log adds up to."""
        state: ExecutionState | None = None
        for event in self.log:
            state = fold(state, e.decode(e.encode(event)))
        assert state is not None, "it has started"  # noqa: S101 - a test's tool
        state.untouched = self.known.untouched  # a cache, which the log does not hold
        return state

    def replayed(self) -> ReplayReport:
        state = self.known
        calls = {call.call_id: "parked" if call.handle else "issued" for call in state.calls.values()}
        kept = Kept(state=state, status=state.status, seq=state.seq, calls=calls)
        return replay(self.playbook, self.log, kept)

    def _done(self, command: Command, **fields: Any) -> e.CallDone:
        return e.CallDone(
            execution_id=self._execution_id,
            at=self.now,
            event_id=ids.event_id(command.call_id, "call.done"),
            call_id=command.call_id,
            **fields,
        )
