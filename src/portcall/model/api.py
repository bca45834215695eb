"""What the server and its clients say to each other: commands, answers, and views for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from portcall.model.event import Error
from portcall.model.outcome import Handle, Outcome

Verdict = Literal["accepted", "duplicate", "stale", "refused", "unknown"]
ExecutionStatus = Literal["running", "cancelling", "failing", "completed", "failed", "cancelled"]
StepStatus = Literal["pending", "running", "parked", "completed", "failed", "skipped", "cancelled"]


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """To one event of a batch. The first three verdicts acknowledge."""

    event_id: str
    verdict: Verdict
    message: str = ""


class Command(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A call to start, with exactly the values its templates name."""

    call_id: str
    execution_id: str
    step: str
    run: int
    iteration: int | None = None
    position: int = 0
    entry: int = 1
    attempt: int = 1
    kind: str
    playbook: str = ""
    line: int = 0
    """Of the step, in the playbook."""
    tool: dict[str, Any]
    """`config` as written."""
    input: dict[str, Any] = {}
    """The merged `input` of step and tool, as written."""
    scope: dict[str, Any] = {}
    expects: list[str] = []
    returns: list[str] = []
    grown: dict[str, str] = {}
    claim: int = 0
    """Fencing token."""
    stop: bool = False
    """It is to stop: nothing new may be begun; what was begun before is to be found."""
    traceparent: str = ""


class ClaimRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    worker_id: str
    slots: int
    wait_seconds: float = 0.0
    kinds: list[str] = []
    """Empty: any."""


class Report(msgspec.Struct, kw_only=True, omit_defaults=True):
    answers: list[Answer] = []
    commands: list[Command] = []
    """What the claim sent along has brought."""


class Heartbeat(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`stop`: calls of this worker that are to stop. `lost`: calls whose lease it no longer holds."""

    stop: list[str] = []
    lost: list[str] = []


class OpenCall(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A call that a watcher answers for. Without a handle it is issued but not known to be parked."""

    call_id: str
    execution_id: str
    step: str
    handle: Handle | None = None
    parked_at: datetime | None = None
    stop: Literal["cancel", "deadline"] | None = None
    overdue: bool = False


class StopRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    call_id: str
    execution_id: str
    step: str = ""
    handle: Handle
    reason: Literal["cancel", "deadline"]


class Stops(msgspec.Struct, kw_only=True, omit_defaults=True):
    requests: list[StopRequest] = []
    cursor: int = 0


class CallView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One open call, or the last one, of a step, for people."""

    call_id: str
    iteration: int | None = None
    attempt: int = 1
    status: Literal["pending", "running", "parked", "completed", "failed", "cancelled"]
    phase: str = ""
    where: str = ""
    since: datetime | None = None
    message: str = ""
    handle: Handle | None = None
    after: str = ""
    """Of a repeated call: how the attempt before it ended, a state of an outcome or the kind of an error."""
    grown: dict[str, str] = {}
    """The limits that a retry has raised, as they are now."""


class LoopView(msgspec.Struct, kw_only=True, omit_defaults=True):
    total: int
    success: int = 0
    failed: int = 0
    running: int = 0


class StepView(msgspec.Struct, kw_only=True, omit_defaults=True):
    status: StepStatus
    kind: str = ""
    runs: int = 0
    attempts: int = 0
    data: Any = None
    outcome: Outcome | None = None
    error: Error | None = None
    started: datetime | None = None
    ended: datetime | None = None
    calls: list[CallView] = []
    """Open calls, at most 100."""
    loop: LoopView | None = None


class ExecutionView(msgspec.Struct, kw_only=True, omit_defaults=True):
    execution_id: str
    path: str
    status: ExecutionStatus
    started: datetime
    ended: datetime | None = None
    duration_s: float = 0.0
    error: Error | None = None
    workload: dict[str, Any] = {}
    steps: dict[str, StepView] = {}
    """In the playbook's order."""
    arcs: dict[str, list[str]] = {}
    seq: int = 0


class ExecutionSummary(msgspec.Struct, kw_only=True, omit_defaults=True):
    execution_id: str
    path: str
    status: ExecutionStatus
    started: datetime
    ended: datetime | None = None
    parked: int = 0
    """Calls that run outside now."""


class StartRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of `playbook` (the text) or `path` (registered before)."""

    playbook: str = ""
    path: str = ""
    file: str = ""
    """Where the text came from, for messages."""
    workload: dict[str, Any] = {}
    execution_id: str = ""
    """Made by the caller, so that repeating the request starts nothing twice."""
    traceparent: str = ""
