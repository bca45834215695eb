"""An engine that plays a script: enough of one to run the commands upon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from portcall.errors import NotFoundError
from portcall.model.api import ExecutionSummary, ExecutionView, StartRequest
from portcall.model.event import Event
from portcall.model.outcome import Handle


@dataclass
class Report:
    events: int = 3
    same: bool = True
    differences: list[str] = field(default_factory=list)


@dataclass
class FakeEngine:
    """Client, engine and runtime in one. `view` is what an execution looks like when it has been driven."""

    view: ExecutionView
    log: list[Event] = field(default_factory=list)
    others: list[ExecutionSummary] = field(default_factory=list)
    started: list[StartRequest] = field(default_factory=list)
    driven: list[set[str] | None] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    owners: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    failure: Exception | None = None
    report: Report = field(default_factory=Report)
    driving: Callable[[], None] = lambda: None
    slots: int = 1
    busy: int = 0

    @property
    def client(self) -> Any:
        return self

    async def start(self, request: StartRequest) -> str:
        if self.failure is not None:
            raise self.failure
        self.started.append(request)
        self.view = msgspec.structs.replace(self.view, execution_id=request.execution_id)
        return request.execution_id

    async def drive(self, execution_ids: set[str] | None) -> None:
        self.driven.append(execution_ids)
        self.driving()
        # A step of the loop, so that whoever shows it gets its turn.
        await asyncio.sleep(0)
        if self.cancelled:
            self.view = msgspec.structs.replace(self.view, status="cancelled")

    async def execution(self, execution_id: str, *, after: int = 0, wait_seconds: float = 0) -> ExecutionView:
        del after, wait_seconds
        if execution_id != self.view.execution_id:
            raise NotFoundError(f"There is no execution {execution_id}.")
        return self.view

    async def executions(self, limit: int = 100) -> list[ExecutionSummary]:
        mine = ExecutionSummary(
            execution_id=self.view.execution_id,
            path=self.view.path,
            status=self.view.status,
            started=self.view.started,
            ended=self.view.ended,
        )
        return [mine, *self.others][:limit]

    async def events(
        self, execution_id: str, *, after: int = 0, limit: int = 2, wait_seconds: float = 0
    ) -> list[Event]:
        del execution_id
        page = [event for event in self.log if event.seq > after][:limit]
        if not page and wait_seconds:
            await asyncio.Event().wait()
        return page

    async def cancel(self, execution_id: str, reason: str = "") -> None:
        del reason
        self.cancelled.append(execution_id)

    async def replay(self, execution_id: str) -> Report:
        del execution_id
        return self.report

    async def logs(self, handle: Handle, *, follow: bool = False) -> AsyncIterator[bytes]:
        del follow
        if handle.name not in self.outputs:
            raise NotFoundError("It is gone.")
        yield self.outputs[handle.name]

    # -- what `embedded` gives ------------------------------------------------------------------

    @asynccontextmanager
    async def opened(self, *given: Any, **options: Any) -> AsyncIterator[Any]:
        del given
        self.options = options
        yield self

    async def owner_of(self, db: Path, execution_id: str) -> int | None:
        del db
        return self.owners.get(execution_id)
