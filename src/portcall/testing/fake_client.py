"""A server's answers without a server: queues, leases and verdicts in memory, no playbooks.

It answers events by the rules of the callback protocol (accepted once, then duplicate; stale for a
call that has ended; unknown), so that workers and watchers can be driven through any order.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Literal, NoReturn

import msgspec

from portcall.errors import NotFoundError, UnavailableError
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
    Verdict,
)
from portcall.model.event import CallDone, CallParked, CommandDeferred, Event, Reported


class FakeClient:
    """`outages`: how many of the next requests fail as unavailable. `refuse` gives the reason why an event
    is refused, or "". `on_done` is told of each call that ends.
    """

    def __init__(self) -> None:
        self.outages = 0
        self.failure: Exception = UnavailableError("The server is away.")
        self.refuse: Callable[[Reported], str] = lambda _event: ""
        self.on_done: Callable[[CallDone], None] = lambda _event: None
        self.posted: list[Reported] = []
        self.batches: list[int] = []
        self.verdicts: Counter[Verdict] = Counter()
        self.done: dict[str, CallDone] = {}
        self.parked: dict[str, CallParked] = {}
        self.deferred: list[CommandDeferred] = []
        self.open: dict[str, OpenCall] = {}
        self.claimed: dict[str, int] = {}
        self.requests: Counter[str] = Counter()
        self.to_stop: set[str] = set()
        self.to_lose: set[str] = set()
        self._queue: deque[Command] = deque()
        self._claims = 0
        self._answered: set[str] = set()
        self._stops: list[StopRequest] = []
        self._changed = asyncio.Event()

    # -- what the test does -------------------------------------------------------------------

    def offer(self, *commands: Command) -> None:
        """Put commands into the queue."""
        for command in commands:
            self.open.setdefault(
                command.call_id,
                OpenCall(call_id=command.call_id, execution_id=command.execution_id, step=command.step),
            )
        self._queue.extend(commands)
        self._notify()

    def park(self, call: OpenCall) -> None:
        """Have a call open, as if a worker had parked it."""
        self.open[call.call_id] = call

    def forget(self, call_id: str) -> None:
        """As a store that was restored from a copy made before the call."""
        self.open.pop(call_id, None)
        self.done.pop(call_id, None)

    def ask_to_stop(self, request: StopRequest) -> None:
        self._stops.append(request)
        self._notify()

    # -- what workers and watchers ask --------------------------------------------------------

    async def report(self, events: list[Reported], claim: ClaimRequest | None = None) -> Report:
        await self._request("report")
        self.batches.append(len(events))
        answers = [self._answer(event) for event in events]
        return Report(answers=answers, commands=self._take(claim.slots) if claim else [])

    async def claim(self, request: ClaimRequest) -> list[Command]:
        await self._request("claim")
        if not self._queue and request.wait_seconds > 0:
            await self._wait(lambda: bool(self._queue), request.wait_seconds)
        return self._take(request.slots)

    async def heartbeat(self, worker_id: str, calls: dict[str, int]) -> Heartbeat:
        del worker_id
        await self._request("heartbeat")
        lost = [c for c, claim in calls.items() if c in self.to_lose or self.claimed.get(c) != claim]
        return Heartbeat(stop=[call for call in calls if call in self.to_stop], lost=lost)

    async def open_calls(self, runtime: str) -> list[OpenCall]:
        await self._request("open_calls")
        return [call for call in self.open.values() if call.handle is None or call.handle.runtime == runtime]

    async def known_calls(self, call_ids: list[str]) -> dict[str, Literal["open", "closed", "unknown"]]:
        await self._request("known_calls")
        return {call: self._known(call) for call in call_ids}

    async def stops(self, runtime: str, after: int, wait_seconds: float) -> Stops:
        del runtime
        await self._request("stops")
        await self._wait(lambda: len(self._stops) > after, wait_seconds)
        return Stops(requests=self._stops[after:], cursor=len(self._stops))

    # -- what nobody asks of it ---------------------------------------------------------------

    async def register(self, text: str, file: str = "") -> str:
        del text, file
        _without("playbooks")

    async def start(self, request: StartRequest) -> str:
        del request
        _without("playbooks")

    async def cancel(self, execution_id: str, reason: str = "") -> None:
        del execution_id, reason
        _without("executions")

    async def execution(self, execution_id: str, *, after: int = 0, wait_seconds: float = 0) -> ExecutionView:
        del execution_id, after, wait_seconds
        _without("executions")

    async def executions(self, limit: int = 100) -> list[ExecutionSummary]:
        del limit
        return []

    async def events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0
    ) -> list[Event]:
        del execution_id, after, limit, wait_seconds
        _without("executions")

    async def close(self) -> None:
        self._notify()

    # -- inside -------------------------------------------------------------------------------

    async def _request(self, what: str) -> None:
        self.requests[what] += 1
        await asyncio.sleep(0)
        if self.outages > 0:
            self.outages -= 1
            raise self.failure

    def _take(self, slots: int) -> list[Command]:
        taken: list[Command] = []
        while self._queue and len(taken) < slots:
            self._claims += 1
            command = msgspec.structs.replace(self._queue.popleft(), claim=self._claims)
            self.claimed[command.call_id] = self._claims
            taken.append(command)
        return taken

    def _known(self, call_id: str) -> Literal["open", "closed", "unknown"]:
        if call_id in self.open:
            return "open"
        return "closed" if call_id in self.done else "unknown"

    def _answer(self, event: Reported) -> Answer:
        self.posted.append(event)
        reason = self.refuse(event)
        verdict: Verdict = "refused" if reason else self._judge(event)
        self.verdicts[verdict] += 1
        return Answer(event_id=event.event_id, verdict=verdict, message=reason)

    def _judge(self, event: Reported) -> Verdict:
        if event.event_id in self._answered:
            return "duplicate"
        known = self._known(event.call_id)
        if known == "unknown":
            return "unknown"
        self._answered.add(event.event_id)
        if known == "closed":
            return "stale"
        self._accept(event)
        return "accepted"

    def _accept(self, event: Reported) -> None:
        match event:
            case CallDone():
                self.done[event.call_id] = event
                del self.open[event.call_id]
                self.on_done(event)
            case CallParked():
                self.parked[event.call_id] = event
                call = self.open[event.call_id]
                self.open[event.call_id] = msgspec.structs.replace(
                    call, handle=event.handle, parked_at=event.at
                )
            case CommandDeferred():
                self.deferred.append(event)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that came in has made it true."""
        while not condition():
            await self._changed.wait()

    async def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.until(condition)
        except TimeoutError:
            return


def _without(what: str) -> NoReturn:
    raise NotFoundError(f"The fake server keeps no {what}.")
