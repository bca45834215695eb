"""An engine on a real SQLite file, with a clock, a worker and a watcher by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from portcall import app, ids
from portcall.model import event as e
from portcall.model.api import ClaimRequest, Command, StartRequest
from portcall.model.outcome import Handle
from portcall.orchestrator.engine import Engine
from portcall.store.sqlite import SqliteStore

HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: t, path: t}\nworkflow:\n"
ONE = HEAD + "- {step: start, tool: {kind: noop}}\n"
TWO = HEAD + "- {step: start, tool: {kind: noop}, next: end}\n- {step: end, tool: {kind: noop}}\n"
CONTAINER = HEAD + "- {step: start, tool: {kind: container, image: x, command: [x], timeout_seconds: 60}}\n"


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Bench:
    """An engine, its clock, and the answers of a worker and a watcher by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = HandClock()
        self.engine = self.open()

    def open(self, owner: str = "") -> Engine:
        store = SqliteStore(self.path)
        engine = Engine(store, app.load_playbook, owner=owner, lease_seconds=30, clock=self.clock)
        store.on_lost = lambda _: engine.drop_cache()
        store.open()
        return engine

    async def begin(self, text: str) -> tuple[str, Command]:
        """Start it; its id, and its first command, claimed."""
        execution = await self.engine.start(StartRequest(playbook=text))
        (command,) = await self.claim()
        return execution, command

    async def claim(self, slots: int = 10, worker: str = "w1", wait: float = 0) -> list[Command]:
        return await self.engine.claim(ClaimRequest(worker_id=worker, slots=slots, wait_seconds=wait))

    async def report(self, *events: e.Reported) -> list[str]:
        return [answer.verdict for answer in (await self.engine.report(list(events))).answers]

    def done(self, command: Command, data: Any = None, worker: str = "w1", **fields: Any) -> e.CallDone:
        """As a worker posts it."""
        fact = self.fact(command, "call.done")
        given = {"status": "success", "data": data, "worker_id": worker, "claim": command.claim}
        return e.CallDone(**fact | given | fields)

    def deferred(self, command: Command) -> e.CommandDeferred:
        fact = self.fact(command, f"command.deferred/{command.claim}")
        return e.CommandDeferred(**fact, reason="away", not_before=self.clock.now(), claim=command.claim)

    def seen(self, command: Command, data: Any = None) -> e.CallDone:
        """As a watcher posts it."""
        return e.CallDone(**self.fact(command, "call.done"), status="success", data=data)

    def parked(self, command: Command, **fields: Any) -> e.CallParked:
        handle = Handle(runtime=fields.pop("runtime", "process"), name="j", uid="u")
        return e.CallParked(**self.fact(command, "call.parked"), handle=handle, claim=command.claim, **fields)

    def fact(self, command: Command, kind: str) -> dict[str, Any]:
        return {
            "execution_id": command.execution_id,
            "at": self.clock.now(),
            "event_id": ids.event_id(command.call_id, kind),
            "call_id": command.call_id,
        }

    async def status(self, execution: str) -> str:
        return (await self.engine.execution(execution)).status


On = Callable[[Callable[[Bench], Awaitable[None]]], None]
"""Runs a test on a bench of its own."""
