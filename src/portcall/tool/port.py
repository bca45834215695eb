"""What a tool kind is: `start(call) -> Done | Parked`, or `Deferred` when the outside is away.

A kind is a class with a name, a pydantic model of its own fields, and one coroutine. Third-party
packages add kinds through the entry point group `portcall.tools`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel

from portcall.model.outcome import Handle, Outcome
from portcall.runtime.port import Runtime


class Call(msgspec.Struct, frozen=True):
    """One invocation of one tool, its templates rendered."""

    call_id: str
    execution_id: str
    step: str
    run: int
    iteration: int | None
    position: int
    entry: int
    attempt: int
    kind: str
    playbook: str
    config: BaseModel
    input: Mapping[str, Any]
    """The merged `input` of step and tool."""
    scope: Mapping[str, Any]
    """The values the templates were rendered with, for tools that pass them on (python `context`)."""
    grown: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Limits that a retry raised, such as {"memory": "128Mi"}: they replace those of the config."""
    traceparent: str = ""


class Done(msgspec.Struct, frozen=True):
    """The call is over. A failure is a `ToolError`, raised."""

    data: Any = None
    outcome: Outcome | None = None


class Parked(msgspec.Struct, frozen=True):
    """The outside has the call; the slot is free. `resume_at` makes the engine end it then."""

    handle: Handle
    resume_at: datetime | None = None
    timeout_seconds: float | None = None


class Deferred(msgspec.Struct, frozen=True):
    """The outside is away: give the call back to the queue for `seconds`."""

    reason: str
    seconds: float = 5.0


Result = Done | Parked | Deferred


class Services(msgspec.Struct):
    """What a tool may use. One for each call."""

    log: Callable[[str], None]
    """Takes the call's output, as text; bounded by the worker."""
    cancelled: asyncio.Event
    """Set when the call is to stop; the task is cancelled shortly after."""
    still_mine: Callable[[], Awaitable[bool]]
    """Whether the lease still holds: asked just before anything outside is created."""
    runtime: Runtime | None = None
    credential: Callable[[str], Mapping[str, Any]] | None = None
    workdir: str = "."
    """Where relative paths of local tools start."""


class ToolKind(Protocol):
    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    raw: ClassVar[frozenset[str]]
    """Config fields that are never rendered, such as python's `code`."""

    async def start(self, call: Call, services: Services) -> Result: ...
