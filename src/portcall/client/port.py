"""The server as workers, watchers and the command line see it: over HTTP, or in this process."""

from __future__ import annotations

from typing import Literal, Protocol

from portcall.model.api import (
    ClaimRequest,
    Command,
    ExecutionSummary,
    ExecutionView,
    Heartbeat,
    OpenCall,
    Report,
    StartRequest,
    Stops,
)
from portcall.model.event import Event, Reported


class Client(Protocol):
    """Errors: the tree of `portcall.errors`; `UnavailableError` when the server cannot be reached."""

    async def register(self, text: str, file: str = "") -> str:
        """Put a playbook into the catalog; its path."""
        ...

    async def start(self, request: StartRequest) -> str:
        """Start an execution; its id."""
        ...

    async def report(self, events: list[Reported], claim: ClaimRequest | None = None) -> Report:
        """Post facts; each is answered. Optionally claim in the same transaction."""
        ...

    async def claim(self, request: ClaimRequest) -> list[Command]:
        """Commands to start, waiting up to `wait_seconds` for the first."""
        ...

    async def heartbeat(self, worker_id: str, calls: dict[str, int]) -> Heartbeat:
        """Extend the leases of `calls` (call id to claim)."""
        ...

    async def open_calls(self, runtime: str) -> list[OpenCall]:
        """Container calls of this runtime that have not ended, and those issued and not parked."""
        ...

    async def known_calls(self, call_ids: list[str]) -> dict[str, Literal["open", "closed", "unknown"]]:
        """What the server knows of these calls."""
        ...

    async def stops(self, runtime: str, after: int, wait_seconds: float) -> Stops:
        """Calls to stop, newer than the cursor; waits for the first."""
        ...

    async def cancel(self, execution_id: str, reason: str = "") -> None: ...

    async def execution(self, execution_id: str, *, after: int = 0, wait_seconds: float = 0) -> ExecutionView:
        """The execution; waits until its log is longer than `after`."""
        ...

    async def executions(self, limit: int = 100) -> list[ExecutionSummary]:
        """Newest first."""
        ...

    async def events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0
    ) -> list[Event]:
        """The log beyond `after`, in order."""
        ...

    async def close(self) -> None: ...
