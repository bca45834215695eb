"""The process runtime: six verbs over folders, each of which one detached supervisor looks after.

There is no image and no isolation: a container is a process of this machine and this user.
What it adds to a plain subprocess is that it outlives portcall, and that its end is never lost.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from portcall.errors import RejectedError, UnavailableError
from portcall.model.outcome import Handle, Outcome
from portcall.process import ProcessId
from portcall.runtime.port import JobSpec, Observation, Phase, StopReason
from portcall.runtime.process import logs, record
from portcall.runtime.process.facts import Record
from portcall.runtime.process.folder import Folders, away, settle, unattended
from portcall.runtime.process.forkserver import ForkServer
from portcall.runtime.process.judge import LINE_BYTES, MESSAGE_BYTES, Printed, at, judge
from portcall.runtime.process.observer import Observer

LOG_BYTES = 8 << 20
GRACE_SECONDS = 10.0
MEMORY_POLL_SECONDS = 0.1
_TRIES = 100
_TRY_SECONDS = 0.05


class ProcessRuntime:
    """Runs each container as a local process below `root`, a folder of this user alone.

    `memory_poll` and `grace` are in seconds; `log_bytes` bounds each of the two files of a job's output.
    `cgroups`: `off` never makes control groups; memory is then sampled, and CPU is not limited.
    """

    name: ClassVar[str] = "process"

    def __init__(
        self,
        root: Path,
        *,
        memory_poll: float = MEMORY_POLL_SECONDS,
        cgroups: Literal["auto", "off"] = "auto",
        log_bytes: int = LOG_BYTES,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._folders = Folders(root)
        self.root = self._folders.root
        settings = {"root": str(self.root), "log_bytes": log_bytes, "grace": grace}
        self._server = ForkServer(settings | {"memory_poll": memory_poll, "cgroups": cgroups})
        self._identity = ""
        self._node = os.uname().nodename

    async def identity(self) -> str:
        return self._cluster()

    def _cluster(self) -> str:
        if not self._identity:
            if sys.platform != "linux":
                raise UnavailableError(
                    "The process runtime needs Linux: run portcall there, or use another runtime."
                )
            self._folders.prepare()
            self._identity = self._folders.identity()
        return self._identity

    # -- dispatch ---------------------------------------------------------------------------------------

    async def dispatch(self, spec: JobSpec) -> Handle:
        """Returns when the start of the container, or its failure to start, is on disk."""
        _check_name(spec.name)
        spec = msgspec.structs.replace(spec, workdir=str(self._folders.here / spec.workdir))
        made = self._folders.make(spec, self._cluster())
        for _ in range(_TRIES):
            found = self._adopt(spec)
            if found is not None and _begun(found):
                return self._handle(found)
            await self._start(spec, fresh=made is not None)
            found = self._adopt(spec)
            if found is not None and _begun(found):
                return self._handle(found)
            await asyncio.sleep(_TRY_SECONDS)  # another dispatcher is just starting it
        raise UnavailableError(f"The job {spec.name!r} was made but did not start in time; try again.")

    def _adopt(self, spec: JobSpec) -> Record | None:
        found = self._folders.read(spec.name)
        if found is None and self._folders.path(spec.name) is not None:
            text = (
                f"The name {spec.name!r} is taken by a folder without a readable job: {self.root / spec.name}."
            )
            raise RejectedError(text, reason="NameTaken")
        if found is not None and found.job.spec.call_id != spec.call_id:
            other = found.job.spec
            text = (
                f"The name {spec.name!r} is taken by another call: step {other.step!r} of execution "
                f"{other.execution_id} (call {other.call_id})."
            )
            raise RejectedError(text, reason="NameTaken")
        return found

    async def _start(self, spec: JobSpec, *, fresh: bool) -> None:
        path = self._folders.path(spec.name)
        if path is None or (not fresh and _attended(path)):
            return
        answer = await self._server.supervise(path)
        if answer.startswith("error "):
            why = os.strerror(int(answer.split()[1])).lower()
            raise UnavailableError(
                f"The job {spec.name!r} could not be started: {why}; it will be tried again."
            )

    # -- reading ----------------------------------------------------------------------------------------

    async def observe(self) -> AsyncIterator[Observation]:
        self._cluster()
        observer = Observer(f"{self.root}/{record.BELLS}")
        told: dict[str, Phase] = {}
        try:
            for one in await self.list():
                self._follow(observer, one, told)
                yield one
            while True:
                for name in await observer.names():
                    found = await self.get(name)
                    if found is None or found.acknowledged:
                        told.pop(name, None)
                        observer.unwatch(name)
                    elif self._follow(observer, found, told):
                        yield found
        finally:
            observer.close()

    def _follow(self, observer: Observer, one: Observation, told: dict[str, Phase]) -> bool:
        """Whether this is news. A job that runs is watched until it ends."""
        name = one.handle.name
        news = told.get(name) != one.phase
        told[name] = one.phase
        if one.phase == "finished":
            observer.unwatch(name)
        elif one.phase == "started":
            found = self._folders.read(name)
            if found is not None and found.start is not None:
                observer.watch(name, ProcessId.parse(found.start.supervisor))
        return news

    async def list(self) -> list[Observation]:
        self._cluster()
        return await asyncio.to_thread(self._list)

    def _list(self) -> builtins.list[Observation]:
        found = (self._observation(name) for name in self._folders.names())
        present: Iterable[Observation] = [one for one in found if one is not None]
        for one in present:
            if one.acknowledged and one.outcome is not None:
                self._folders.set_aside(one.handle.name)
        return [one for one in present if not one.acknowledged]

    async def get(self, name: str) -> Observation | None:
        self._cluster()
        return self._observation(name)

    def _observation(self, name: str) -> Observation | None:
        with away(f"read the job {name!r}"):
            found = self._folders.read(name)
        if found is None:
            return None
        handle, spec, start = self._handle(found), found.job.spec, found.start
        container = None if start is None else start.container_id
        phase, since = _phase(found)
        return Observation(
            handle=handle,
            call_id=spec.call_id,
            execution_id=spec.execution_id,
            step=spec.step,
            phase=phase,
            since=since,
            where="" if container is None else f"pid {container.pid}",
            traceparent=spec.traceparent,
            outcome=None if found.exit is None else self._outcome(found, handle),
            acknowledged=found.acknowledged,
        )

    def _outcome(self, found: Record, handle: Handle) -> Outcome:
        path = self._folders.path(handle.name) or self.root / handle.name
        wanted = LINE_BYTES if found.job.spec.result == "stdout" else MESSAGE_BYTES
        message = record.read(f"{path}/{record.RESULT}", MESSAGE_BYTES + 1)
        printed = Printed(message=message, output=logs.tail(path, wanted))
        return judge(found, printed, handle, self._node, datetime.now(UTC))

    def _handle(self, found: Record) -> Handle:
        job = found.job
        return Handle(runtime=self.name, cluster=job.cluster, name=job.spec.name, uid=job.uid)

    # -- ending -----------------------------------------------------------------------------------------

    async def stop(self, handle: Handle, reason: StopReason) -> None:
        found = self._mine(handle)
        path = self._folders.path(handle.name)
        if found is None or path is None or found.exit is not None:
            return
        with away(f"stop the job {handle.name!r}"):
            if not (path / record.STOP).exists():
                record.write(f"{path}/{record.STOP}", reason.encode())
            found = self._mine(handle)
        if found is None or found.exit is not None:
            return
        if found.start is None or not ProcessId.parse(found.start.supervisor).signal(signal.SIGTERM):
            settle(path, found.job, stopped=True)

    async def release(self, handle: Handle) -> None:
        """Set the job aside; one that still runs is set aside after its end."""
        found = self._mine(handle)
        path = self._folders.path(handle.name)
        if found is None or path is None or path.parent != self.root:
            return
        with away(f"release the job {handle.name!r}"):
            if not found.acknowledged:
                record.write(f"{path}/{record.ACKNOWLEDGED}", b"")
        if found.exit is not None:
            self._folders.set_aside(handle.name)

    def _mine(self, handle: Handle) -> Record | None:
        """The job that the handle means, and no later one of the same name."""
        self._cluster()
        found = self._folders.read(handle.name)
        return None if found is None or found.job.uid != handle.uid else found

    async def logs(self, handle: Handle, *, follow: bool = False) -> AsyncIterator[bytes]:
        if self._mine(handle) is None:
            return
        async for chunk in logs.read(lambda: self._folders.path(handle.name), follow=follow):
            yield chunk

    async def sweep(self, older_than_seconds: float) -> int:
        self._cluster()
        return await asyncio.to_thread(self._folders.sweep, older_than_seconds)

    async def close(self) -> None:
        """Let go of the fork server. Containers go on."""
        self._server.close()


def _check_name(name: str) -> None:
    if not name or name.startswith(".") or "/" in name:
        raise RejectedError(
            f"A job cannot be named {name!r}: the name is that of a folder.", reason="InvalidName"
        )


def _begun(found: Record) -> bool:
    return found.exit is not None or (found.start is not None and bool(found.start.container))


def _attended(path: Path) -> bool:
    with unattended(path) as free:
        return not free


def _phase(found: Record) -> tuple[Phase, datetime]:
    if found.exit is not None:
        return "finished", at(found.exit.finished)
    if found.start is not None and found.start.started is not None:
        return "started", at(found.start.started)
    return "created", at(found.job.created)
