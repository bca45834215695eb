"""The calls that this worker holds, and until when it may still act for each.

A worker that was paused must not create anything for a call that the server has given to another.
So each lease is counted here from the moment the request that granted it was *sent*, on a clock
that goes on while the machine sleeps, and it ends a margin earlier than on the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from portcall.client.port import Client
from portcall.errors import PortcallError, UnavailableError
from portcall.model.api import Command
from portcall.model.outcome import Handle
from portcall.runtime.port import JobSpec, Runtime

Ended = Literal["stop", "lost", "drain"]


def awake_seconds() -> float:
    """Seconds that also pass while the machine is suspended, where the system has such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@dataclass(slots=True, eq=False)
class Held:
    """One call of this worker, from its claim until the server has acknowledged the report."""

    command: Command
    until: float
    """When this worker stops believing in its lease, on the lease clock."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ended: Ended | None = None
    """Why it is being ended from outside."""

    @property
    def lost(self) -> bool:
        return self.ended == "lost"

    def end(self, why: Ended) -> None:
        """Cancel the task; `lost` outweighs every other reason, for nothing is reported then."""
        if self.ended is None or why == "lost":
            self.ended = why
        self.cancelled.set()
        if self.task is not None:
            self.task.cancel()


class Leases:
    """Held calls by id, and their renewal. `seconds`: the lease that the server grants."""

    def __init__(
        self, client: Client, worker_id: str, seconds: float, now: Callable[[], float] = awake_seconds
    ) -> None:
        self._client = client
        self._worker_id = worker_id
        self._seconds = seconds
        self._margin = min(5.0, seconds / 6)
        self.now = now
        self.held: dict[str, Held] = {}

    def grant(self, command: Command, sent: float) -> Held:
        """Hold a call that was claimed by a request sent at `sent`."""
        held = Held(command, sent + self._seconds - self._margin)
        self.held[command.call_id] = held
        return held

    def release(self, call_id: str, claim: int) -> None:
        """The report of this claim is acknowledged, or will never be made."""
        held = self.held.get(call_id)
        if held is not None and held.command.claim == claim:
            del self.held[call_id]

    async def renew(self, calls: list[Held]) -> list[Held]:
        """Heartbeat for these; the ones that the server wants stopped. Lost ones are ended here."""
        sent = self.now()
        answer = await self._client.heartbeat(
            self._worker_id, {call.command.call_id: call.command.claim for call in calls}
        )
        lost, stop = frozenset(answer.lost), frozenset(answer.stop)
        for call in calls:
            if call.command.call_id in lost:
                call.end("lost")
            else:
                call.until = sent + self._seconds - self._margin
        return [call for call in calls if call.command.call_id in stop and not call.lost]

    def remaining(self, call: Held) -> float:
        """Seconds in which this worker may still act for the call; 0 when none."""
        return 0.0 if call.lost else max(0.0, call.until - self.now())

    async def still_mine(self, call: Held) -> bool:
        """Whether the lease holds; one that is nearly over is renewed first, and no answer means no."""
        if not call.lost and self.remaining(call) < self._seconds / 3:
            try:
                async with asyncio.timeout(self._seconds / 3):
                    await self.renew([call])
            except (PortcallError, TimeoutError):
                return self.remaining(call) > 0
        return self.remaining(call) > 0


class _LeasedRuntime:
    """A runtime whose `dispatch` times out before the lease does."""

    def __init__(self, runtime: Runtime, leases: Leases, call: Held) -> None:
        self._runtime = runtime
        self._leases = leases
        self._call = call

    async def dispatch(self, spec: JobSpec) -> Handle:
        seconds = self._leases.remaining(self._call)
        try:
            async with asyncio.timeout(seconds):
                return await self._runtime.dispatch(spec)
        except TimeoutError as error:
            raise UnavailableError(
                f"The runtime {self._runtime.name} did not accept the Job {spec.name} within {seconds:.0f} s, "
                "the rest of the call's lease; it is tried again."
            ) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


def leased(runtime: Runtime | None, leases: Leases, call: Held) -> Runtime | None:
    """The runtime as a tool may use it under this lease."""
    return None if runtime is None else cast("Runtime", _LeasedRuntime(runtime, leases, call))
