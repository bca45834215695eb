"""A runtime without containers: Jobs are entries that a test ends, hides, or takes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import ClassVar

import msgspec

from portcall.clock import Clock
from portcall.errors import RejectedError, UnavailableError
from portcall.model.outcome import Evidence, Handle, Outcome, State, outcome
from portcall.runtime.port import JobSpec, Observation, Phase, Runtime, StopReason


class FakeRuntime:
    """`deaf`: notifications are lost. `outages`: how many of the next requests fail as unavailable.
    `obedient`: a Job that is asked to stop ends at once.
    """

    name: ClassVar[str] = "fake"

    def __init__(self, clock: Clock, cluster: str = "fake:1") -> None:
        self.cluster = cluster
        self.deaf = False
        self.obedient = True
        self.outages = 0
        self.jobs: dict[str, Observation] = {}
        self.released: Counter[str] = Counter()
        self.stopped: list[tuple[str, StopReason]] = []
        self.requests: Counter[str] = Counter()
        self.swept: list[float] = []
        self._clock = clock
        self._uids = 0
        self._observers: list[asyncio.Queue[Observation | None]] = []

    # -- what the test does -------------------------------------------------------------------

    def add(self, call_id: str, name: str = "", *, execution_id: str = "1", step: str = "s") -> Handle:
        """A Job that runs."""
        self._uids += 1
        handle = Handle(
            runtime=self.name, cluster=self.cluster, name=name or f"pc-{call_id[:16]}", uid=f"uid-{self._uids}"
        )
        self._set(
            Observation(
                handle=handle,
                call_id=call_id,
                execution_id=execution_id,
                step=step,
                phase="started",
                since=self._clock.now(),
            )
        )
        return handle

    def move(self, name: str, phase: Phase) -> None:
        self._set(msgspec.structs.replace(self.jobs[name], phase=phase))

    def end(self, name: str, state: State = "succeeded", end: Outcome | None = None) -> None:
        """Let a Job end, once; `end` in full instead of only its state."""
        job = self.jobs[name]
        if job.outcome is None:
            came = end or outcome(state, evidence=Evidence(level="full"), message=f"It ended as {state}.")
            self._set(msgspec.structs.replace(job, phase="finished", outcome=came))

    def vanish(self, name: str) -> None:
        """As if somebody had removed it, marks and all."""
        del self.jobs[name]

    def acknowledge(self, name: str) -> None:
        """As if its outcome had been taken by a server before."""
        self.jobs[name] = msgspec.structs.replace(self.jobs[name], acknowledged=True)

    def notify(self, name: str) -> None:
        """Tell the observers of a Job (again)."""
        for queue in self._observers:
            queue.put_nowait(self.jobs[name])

    def interrupt(self) -> None:
        """End every stream of observations."""
        for queue in self._observers:
            queue.put_nowait(None)

    @property
    def held(self) -> list[str]:
        """Names of Jobs that are not released."""
        return [name for name, job in self.jobs.items() if not job.acknowledged]

    # -- Runtime ------------------------------------------------------------------------------

    async def identity(self) -> str:
        await self._request("identity")
        return self.cluster

    async def dispatch(self, spec: JobSpec) -> Handle:
        await self._request("dispatch")
        there = self.jobs.get(spec.name)
        if there is None:
            return self.add(spec.call_id, spec.name, execution_id=spec.execution_id, step=spec.step)
        if there.call_id != spec.call_id:
            raise RejectedError(f"The name {spec.name} is taken by the call {there.call_id}.")
        return there.handle

    async def observe(self) -> AsyncIterator[Observation]:
        queue: asyncio.Queue[Observation | None] = asyncio.Queue()
        self._observers.append(queue)
        try:
            if not self.deaf:
                for job in await self.list():
                    yield job
            while (seen := await queue.get()) is not None:
                yield seen
        finally:
            self._observers.remove(queue)

    async def list(self) -> list[Observation]:
        await self._request("list")
        return [job for job in self.jobs.values() if not job.acknowledged]

    async def get(self, name: str) -> Observation | None:
        await self._request("get")
        return self.jobs.get(name)

    async def stop(self, handle: Handle, reason: StopReason) -> None:
        await self._request("stop")
        self.stopped.append((handle.name, reason))
        job = self.jobs.get(handle.name)
        if self.obedient and job is not None and job.handle.uid == handle.uid:
            self.end(handle.name, "cancelled" if reason == "cancel" else "failed_timeout")

    async def release(self, handle: Handle) -> None:
        await self._request("release")
        self.released[handle.name] += 1
        job = self.jobs.get(handle.name)
        if job is not None and job.handle.uid == handle.uid:
            self.jobs[handle.name] = msgspec.structs.replace(job, acknowledged=True)

    async def logs(self, handle: Handle, *, follow: bool = False) -> AsyncIterator[bytes]:
        del follow
        yield f"output of {handle.name}\n".encode()

    async def sweep(self, older_than_seconds: float) -> int:
        self.swept.append(older_than_seconds)
        return 0

    async def close(self) -> None:
        self.interrupt()

    # -- inside -------------------------------------------------------------------------------

    def _set(self, job: Observation) -> None:
        self.jobs[job.handle.name] = job
        if not self.deaf:
            self.notify(job.handle.name)

    async def _request(self, what: str) -> None:
        self.requests[what] += 1
        await asyncio.sleep(0)
        if self.outages > 0:
            self.outages -= 1
            raise UnavailableError("The runtime is away.")


_: type[Runtime] = FakeRuntime
