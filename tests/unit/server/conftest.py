"""A real server on loopback, around a small engine in memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Self

import httpx2
import pytest

from portcall.client.http import HttpClient
from portcall.errors import NotFoundError, PortcallError
from portcall.model.api import (
    Answer,
    ClaimRequest,
    Command,
    ExecutionSummary,
    ExecutionView,
    Heartbeat,
    OpenCall,
    Report,
    StartRequest,
    StopRequest,
    Stops,
)
from portcall.model.event import Event, ExecutionStarted, Reported
from portcall.model.outcome import Handle
from portcall.observe import metrics, tracing
from portcall.observe.secrets import forget_secrets
from portcall.server.app import create_app
from portcall.server.serve import serve
from portcall.settings import Settings

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND = Command(
    call_id="c1", execution_id="7", step="train", run=1, kind="container", tool={"image": "x"}, claim=3
)


class MemoryClient:
    """Remembers what it was asked; waits for real, until `wake` is set or it is cancelled."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.raises: BaseException | None = None
        self.seen: set[str] = set()
        self.wake = asyncio.Event()
        self.waiting = asyncio.Event()
        self.gave_up = asyncio.Event()
        self.traces: list[str] = []
        self.commands: list[Command] = []

    def _note(self, name: str, what: Any) -> None:
        self.asked.append((name, what))
        self.traces.append(tracing.current())
        if self.raises is not None:
            raise self.raises

    async def _wait(self, seconds: float) -> None:
        if not seconds:
            return
        self.waiting.set()
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except asyncio.CancelledError:
            self.gave_up.set()
            raise
        except TimeoutError:
            return

    async def register(self, text: str, file: str = "") -> str:
        self._note("register", (text, file))
        return "examples/hello"

    async def start(self, request: StartRequest) -> str:
        self._note("start", request)
        return request.execution_id or "7"

    async def report(self, events: list[Reported], claim: ClaimRequest | None = None) -> Report:
        self._note("report", (events, claim))
        answers = []
        for event in events:
            verdict = "duplicate" if event.event_id in self.seen else "accepted"
            self.seen.add(event.event_id)
            answers.append(Answer(event_id=event.event_id, verdict=verdict))
        return Report(answers=answers, commands=[COMMAND] if claim else [])

    async def claim(self, request: ClaimRequest) -> list[Command]:
        self._note("claim", request)
        await self._wait(request.wait_seconds)
        return [COMMAND]

    async def heartbeat(self, worker_id: str, calls: dict[str, int]) -> Heartbeat:
        self._note("heartbeat", (worker_id, calls))
        return Heartbeat(stop=["c1"], lost=["c2"])

    async def open_calls(self, runtime: str) -> list[OpenCall]:
        self._note("open_calls", runtime)
        handle = Handle(runtime=runtime, name="portcall-train-1", uid="u")
        return [
            OpenCall(call_id="c1", execution_id="7", step="train", handle=handle, parked_at=AT, stop="cancel")
        ]

    async def known_calls(self, call_ids: list[str]) -> dict[str, Any]:
        self._note("known_calls", call_ids)
        return dict.fromkeys(call_ids, "closed")

    async def stops(self, runtime: str, after: int, wait_seconds: float) -> Stops:
        self._note("stops", (runtime, after, wait_seconds))
        await self._wait(wait_seconds)
        one = StopRequest(call_id="c1", execution_id="7", handle=Handle(runtime=runtime), reason="deadline")
        return Stops(requests=[one], cursor=after + 1)

    async def cancel(self, execution_id: str, reason: str = "") -> None:
        self._note("cancel", (execution_id, reason))

    async def execution(self, execution_id: str, *, after: int = 0, wait_seconds: float = 0) -> ExecutionView:
        self._note("execution", (execution_id, after, wait_seconds))
        if execution_id == "404":
            raise NotFoundError("There is no execution 404.")
        await self._wait(wait_seconds)
        return ExecutionView(
            execution_id=execution_id, path="examples/hello", status="running", started=AT, seq=5
        )

    async def executions(self, limit: int = 100) -> list[ExecutionSummary]:
        self._note("executions", limit)
        return [ExecutionSummary(execution_id="7", path="examples/hello", status="completed", started=AT)]

    async def events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0
    ) -> list[Event]:
        self._note("events", (execution_id, after, limit, wait_seconds))
        await self._wait(wait_seconds)
        return [
            ExecutionStarted(execution_id=execution_id, at=AT, seq=1, playbook="d", path="p", workload={"a": 1})
        ]

    async def close(self) -> None: ...


class Live:
    """One running server: its URL, its engine, and the event that stops it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = MemoryClient()
        self.stop = asyncio.Event()
        self.url = ""
        self.ready: bool | PortcallError = True

    async def is_ready(self) -> bool:
        if isinstance(self.ready, PortcallError):
            raise self.ready
        return self.ready

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Live]:
        app = create_app(self.engine, self.settings, ready=self.is_ready)
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(
            serve(app, self.settings.host, 0, self.stop, on_listening=listening.set_result)
        )
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        self.url = listening.result()
        try:
            yield self
        finally:
            self.stop.set()
            await task

    @contextlib.asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[HttpClient]:
        async with self.running():
            client = HttpClient(self.url, **options)
            try:
                yield client
            finally:
                await client.close()


class Serving:
    """A server in another thread, to be asked many times by plain requests."""

    def __init__(self, **fields: Any) -> None:
        self.server = Live(Settings(**fields))
        self.up = threading.Event()
        self.thread = threading.Thread(target=asyncio.run, args=(self._main(),))

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        try:
            async with self.server.running():
                self.up.set()
                await self.server.stop.wait()
        finally:
            self.up.set()

    def __enter__(self) -> Self:
        self.thread.start()
        self.up.wait()
        json = {"content-type": "application/json"}
        self.http = httpx2.Client(base_url=self.server.url, trust_env=False, headers=json)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.loop.call_soon_threadsafe(self.server.stop.set)
        self.thread.join()


@pytest.fixture(scope="module")
def serving() -> type[Serving]:
    return Serving


@pytest.fixture
def live() -> Callable[..., Live]:
    """Make a server that is not started yet, with these settings."""
    return lambda **fields: Live(Settings(**fields))


@pytest.fixture(autouse=True)
def _clean() -> Any:
    metrics.enable(strict=True)
    yield
    metrics.disable()
    forget_secrets()
