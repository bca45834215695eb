"""What a runtime is: six verbs over Jobs, and observations in one shape.

A runtime reports what is, re-read in full after any doubt. A notification that was lost costs
delay, never correctness.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from portcall.model.outcome import Handle, Outcome

Phase = Literal["created", "suspended", "scheduled", "pulling", "pulled", "started", "waiting", "finished"]
StopReason = Literal["cancel", "deadline"]


class StagedFile(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """A small file put beside the container before it starts."""

    path: str
    content: str
    mode: str = "0644"


class JobSpec(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One container to run. `config` is the whole checked container tool, for runtimes that read more."""

    name: str
    execution_id: str
    step: str
    call_id: str
    attempt: int = 1
    playbook: str = ""
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    env: dict[str, str] = {}
    memory_limit: int | None = None
    """Bytes."""
    cpu_limit: float | None = None
    """Cores."""
    timeout_seconds: float | None = None
    result: Literal["message", "stdout", "none"] = "message"
    files: list[StagedFile] = []
    workdir: str = "."
    traceparent: str = ""
    config: dict[str, Any] = {}


class Observation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a runtime knows of one Job. `outcome` is there exactly when it has ended."""

    handle: Handle
    call_id: str
    execution_id: str
    step: str = ""
    phase: Phase
    since: datetime | None = None
    where: str = ""
    """Where it runs, for people: `pid 4242`, `node-3`."""
    message: str = ""
    traceparent: str = ""
    """Of the Job's spec."""
    outcome: Outcome | None = None
    acknowledged: bool = False


class Runtime(Protocol):
    """Errors: `RejectedError` (refused for good), `UnavailableError` (away: try again)."""

    name: ClassVar[str]

    async def identity(self) -> str:
        """The control plane's identity, kept in every handle: another one means nothing is judged."""
        ...

    async def dispatch(self, spec: JobSpec) -> Handle:
        """Create the Job, or adopt the one of this call that is there already."""
        ...

    def observe(self) -> AsyncIterator[Observation]:
        """Observations as they happen, after one of each Job that is there. Never ends by itself."""
        ...

    async def list(self) -> list[Observation]:
        """Every Job that is not yet acknowledged."""
        ...

    async def get(self, name: str) -> Observation | None:
        """The Job by its name, acknowledged ones too, read from the truth; None: it is not there."""
        ...

    async def stop(self, handle: Handle, reason: StopReason) -> None:
        """Ask it to end; its end comes as an observation. Idempotent."""
        ...

    async def release(self, handle: Handle) -> None:
        """The server has its outcome: let it go. Idempotent."""
        ...

    def logs(self, handle: Handle, *, follow: bool = False) -> AsyncIterator[bytes]:
        """Its output from the start; with `follow`, on to its end."""
        ...

    async def sweep(self, older_than_seconds: float) -> int:
        """Remove acknowledged Jobs that ended longer ago; how many went."""
        ...

    async def close(self) -> None: ...
