"""The facts of an execution: a closed union, told apart by `type`.

Facts that come from outside (a caller, a worker, a watcher, a timer) are `External`; what the
orchestrator decided upon them follows in the same transaction. The log of both is the truth:
folding it gives the state, and deciding again upon the external facts gives the same log.
"""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from portcall.model.outcome import Handle, Outcome

ErrorKind = Annotated[str, Meta(description="timeout, connection, auth, rate_limit, exception, ...")]
StepStatus = Literal["completed", "failed", "skipped", "cancelled"]
ExecutionEnd = Literal["completed", "failed", "cancelled"]


class Error(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Why something failed, as playbooks read it in `output.error`."""

    kind: ErrorKind
    message: str
    retryable: bool = False
    code: str | int | None = None
    status: int | None = None
    step: str | None = None


class _Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    execution_id: Annotated[str, Meta(description="A 64-bit integer as a decimal string.")]
    at: datetime
    seq: Annotated[int, Meta(description="Place in the execution's log, from 1; given by the store.")] = 0
    event_id: Annotated[
        str, Meta(description="Posting the same id again is a no-op. Empty for what was decided.")
    ] = ""


# -- the execution ----------------------------------------------------------------------------


class ExecutionStarted(_Event, kw_only=True, tag="execution.started"):
    playbook: Annotated[str, Meta(description="Digest of the playbook's text.")]
    path: str
    workload: dict[str, Any]
    traceparent: str = ""


class ExecutionCancelRequested(_Event, kw_only=True, tag="execution.cancel_requested"):
    reason: str = ""


class ExecutionFailing(_Event, kw_only=True, tag="execution.failing"):
    """It cannot go on for a reason that is no call's; what is open is being stopped."""

    error: Error


class ExecutionEnded(_Event, kw_only=True, tag="execution.ended"):
    status: ExecutionEnd
    error: Error | None = None


# -- steps ------------------------------------------------------------------------------------


class StepEntered(_Event, kw_only=True, tag="step.entered"):
    step: str
    run: Annotated[int, Meta(description="1 at the first entry; a back arc makes a new run.")]
    input: dict[str, Any] = {}


class StepSkipped(_Event, kw_only=True, tag="step.skipped"):
    step: str
    reason: Literal["when", "not_reached"]


class StepEnded(_Event, kw_only=True, tag="step.ended"):
    """The data is that of the step's calls, which are in the log already."""

    step: str
    run: int
    status: StepStatus
    error: Error | None = None
    handled: Annotated[bool, Meta(description="A failure that a rule or an arc takes care of.")] = False


class ArcTaken(_Event, kw_only=True, tag="arc.taken"):
    step: str
    run: int
    arc: Annotated[int, Meta(description="Index in the step's `next.arcs`.")]
    target: str
    back: bool = False


class ContextSet(_Event, kw_only=True, tag="context.set"):
    """Values that `set` gave, keyed by target: `ctx.x`, `step.x`, `iter.x`; bare names are a list's."""

    step: str
    run: int
    iteration: int | None = None
    values: dict[str, Any]


class LoopStarted(_Event, kw_only=True, tag="loop.started"):
    step: str
    run: int
    items: list[Any]


class IterationEnded(_Event, kw_only=True, tag="loop.iteration_ended"):
    step: str
    run: int
    iteration: int
    status: Literal["completed", "failed", "cancelled"]
    error: Error | None = None


class FrameMoved(_Event, kw_only=True, tag="list.moved"):
    """A list of tools went on to another of its tools."""

    step: str
    run: int
    iteration: int | None = None
    position: int


# -- calls ------------------------------------------------------------------------------------


class CommandIssued(_Event, kw_only=True, tag="command.issued"):
    """The intent: the call exists here before anything exists outside."""

    call_id: str
    step: str
    run: int
    iteration: int | None = None
    position: int = 0
    entry: Annotated[int, Meta(description="How often this position of the list was entered, from 1.")] = 1
    attempt: int = 1
    kind: str
    tool: Annotated[str, Meta(description="The tool's name, in a list of tools.")] = ""
    not_before: datetime | None = None
    grown: Annotated[dict[str, str], Meta(description="Limits that a retry raised.")] = {}
    cause: Annotated[
        str, Meta(description="Why there is another attempt: `retry:0`, `infrastructure`, `policy`, `expired`.")
    ] = ""


class CommandDeferred(_Event, kw_only=True, tag="command.deferred"):
    """The outside could not take the call now: it went back to the queue, and the slot is free."""

    call_id: str
    reason: str
    not_before: datetime
    claim: int = 0


class CommandExpired(_Event, kw_only=True, tag="command.expired"):
    """The worker that held the call is gone."""

    call_id: str
    worker_id: str
    claim: int
    reason: Annotated[
        Literal["lease", "resumed"],
        Meta(description="Its lease has ended, or the process that held it was seen to be gone."),
    ] = "lease"


class CallParked(_Event, kw_only=True, tag="call.parked"):
    """The outside has accepted the call; nothing of portcall's waits for it."""

    call_id: str
    handle: Handle
    resume_at: datetime | None = None
    timeout_seconds: float | None = None
    worker_id: str = ""
    claim: int = 0


class CallProgress(_Event, kw_only=True, tag="call.progress"):
    call_id: str
    phase: Literal["created", "suspended", "scheduled", "pulling", "pulled", "started", "waiting"]
    where: str = ""
    message: str = ""
    since: datetime | None = None


class CallOverdue(_Event, kw_only=True, tag="call.overdue"):
    call_id: str


class CallStopRequested(_Event, kw_only=True, tag="call.stop_requested"):
    call_id: str
    reason: Literal["cancel", "deadline"]


class CallDone(_Event, kw_only=True, tag="call.done"):
    """The one end of a call."""

    call_id: str
    status: Literal["success", "error", "cancelled"]
    data: Any = None
    error: Error | None = None
    outcome: Outcome | None = None
    log_tail: str | None = None
    worker_id: str = ""
    claim: Annotated[int, Meta(description="The worker's fencing token; 0 from a watcher.")] = 0


class CallLog(_Event, kw_only=True, tag="call.log"):
    call_id: str
    log_tail: str


class CallStale(_Event, kw_only=True, tag="call.stale"):
    """An answer for a call that had ended or was superseded: kept, and changes nothing."""

    call_id: str
    stale_type: str
    stale: dict[str, Any] = {}


External = (
    ExecutionStarted
    | ExecutionCancelRequested
    | CommandDeferred
    | CommandExpired
    | CallParked
    | CallProgress
    | CallOverdue
    | CallDone
    | CallLog
    | CallStale
)
Decided = (
    StepEntered
    | StepSkipped
    | StepEnded
    | ArcTaken
    | ContextSet
    | LoopStarted
    | IterationEnded
    | FrameMoved
    | CommandIssued
    | CallStopRequested
    | ExecutionFailing
    | ExecutionEnded
)
Event = External | Decided
Reported = CommandDeferred | CallParked | CallProgress | CallDone | CallLog
"""What workers and watchers post to `/api/events`."""

_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    return _encoder.encode(event)


def decode(body: bytes) -> Event:
    return _decoder().decode(body)


@functools.cache
def _decoder() -> msgspec.json.Decoder[Event]:
    return msgspec.json.Decoder(Event)  # some milliseconds, and a run from start to end reads nothing back


def type_of(event: Event) -> str:
    """The event's `type`, such as `call.done`."""
    return str(event.__struct_config__.tag)
