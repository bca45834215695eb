"""The embedded mode: engine, worker, watcher and timers in one process, on one SQLite file.

Any number of processes may use the same file. Each drives the executions it has begun or resumed,
and sees what the others write (a cancel from another terminal) within a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from portcall import app
from portcall.errors import ConflictError, NotFoundError, PortcallError
from portcall.orchestrator.engine import Engine
from portcall.process import ProcessId
from portcall.runtime.port import Runtime
from portcall.store.sqlite import SqliteStore

LOOK_SECONDS = 0.1
LEASE_SECONDS = 100 * 365 * 86_400.0
"""A claim of this process ends with it, not by the clock, which runs on while a laptop sleeps."""
WORKER_LEASE_SECONDS = 3.0
DRAIN_SECONDS = 2.0


def _engine(db: Path, owner: str, on_failure: Callable[[PortcallError], None] | None = None) -> Engine:
    store = SqliteStore(db, threaded=False)
    engine = Engine(store, app.load_playbook, owner=owner, lease_seconds=LEASE_SECONDS)

    def on_lost(reason: PortcallError | None) -> None:
        engine.drop_cache()
        if reason is not None and on_failure is not None:
            on_failure(reason)

    store.on_lost = on_lost
    store.open()
    return engine


@asynccontextmanager
async def open_store(db: Path) -> AsyncIterator[Engine]:
    """A client on the database, without worker and watcher."""
    engine = _engine(db, "")
    looking = asyncio.create_task(_look(engine))
    try:
        yield engine
    finally:
        await _end(looking)
        await engine.close()


@asynccontextmanager
async def open_runtime(db: Path) -> AsyncIterator[Runtime]:
    """The runtime whose containers the executions of this database use."""
    runtime = app.process_runtime(db.parent / "containers")
    try:
        yield runtime
    finally:
        await runtime.close()


def owner_of(db: Path, execution_id: str) -> int | None:
    """The pid of the live process that drives the execution."""

    async def ask() -> str:
        engine = _engine(db, "")
        try:
            return await engine.owner_of(execution_id)
        finally:
            await engine.close()

    return _alive(asyncio.run(ask()))


def _alive(owner: str) -> int | None:
    try:
        process = ProcessId.parse(owner)
    except ValueError:
        return None
    return process.pid if process.alive() else None


class Local:
    """`drive` works until the executions have ended; `client` is the engine itself."""

    def __init__(  # noqa: PLR0913 - each is one option of `portcall run`
        self,
        db: Path,
        *,
        runtime: str = "process",
        slots: int = 4,
        workdir: Path,
        credentials: Mapping[str, Mapping[str, Any]] | None = None,
        catalog: Path | None = None,
    ) -> None:
        self._db = db.absolute()
        self._runtime_name = runtime
        self.slots = slots
        self._workdir = workdir
        self._credentials = credentials or {}
        self._catalog = catalog
        self._owner = str(ProcessId.current())

    async def __aenter__(self) -> Self:
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.client = _engine(self._db, self._owner, self._failed)
        self.runtime = app.make_runtime(self._runtime_name, self._db.parent / "containers")
        self._worker = app.make_worker(
            self.client,
            self.runtime,
            worker_id=self._owner,
            slots=self.slots,
            lease_seconds=WORKER_LEASE_SECONDS,
            drain_seconds=DRAIN_SECONDS,
            workdir=self._workdir,
            credential=self._credential,
        )
        if self._catalog is not None:
            await app.register_folder(self.client, self._catalog)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runtime.close()
        await self.client.close()

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._worker.busy

    def _failed(self, reason: PortcallError) -> None:
        """The database is away or full: whoever drives is told, and may resume when it is mended."""
        if not self._failure.done():
            self._failure.set_exception(reason)
            self._failure.exception()  # it is not lost when nobody drives just now

    async def drive(self, execution_ids: set[str] | None) -> None:
        """Work until these executions (None: all that are unfinished) have ended.

        Raises UnavailableError when the database can no longer be written: nothing is lost.
        """
        if execution_ids is None:
            execution_ids = {
                each.execution_id for each in await self.client.executions(10_000) if each.ended is None
            }
        for each in execution_ids:
            await self._own(each)
        stop = asyncio.Event()
        loops = [
            asyncio.create_task(self._worker.run(stop)),
            asyncio.create_task(self._watch(execution_ids, stop)),
            asyncio.create_task(self.client.run_timers(stop)),
            asyncio.create_task(_look(self.client)),
        ]
        ended = asyncio.create_task(_all_ended(self.client, execution_ids))
        try:
            done, _ = await asyncio.wait({ended, self._failure, *loops}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stop.set()
            await _end(ended, loops[3])
            await asyncio.gather(*loops[:3], return_exceptions=True)

    async def _own(self, execution_id: str) -> None:
        owner = await self.client.owner_of(execution_id)
        if owner == self._owner:
            return
        if (pid := _alive(owner)) is not None:
            raise ConflictError(
                f"execution {execution_id} is being driven by process {pid}: look at it with `portcall show`"
            )
        await self.client.adopt(execution_id, owner)

    async def _watch(self, execution_ids: set[str], stop: asyncio.Event) -> None:
        """A watcher as soon as one of the executions can have containers."""
        if not await self.client.may_use(execution_ids, "container"):
            await stop.wait()
            return
        # A process that died may have left Jobs of executions that have ended: they are let go here.
        left = {each.execution_id for each in await self.runtime.list()} - execution_ids
        known = execution_ids | await self.client.have_ended(left)
        watcher = app.make_watcher(self.client, self.runtime, known=known.__contains__)
        await watcher.run(stop)

    def _credential(self, name: str) -> Mapping[str, Any]:
        try:
            return self._credentials[name]
        except KeyError:
            raise NotFoundError(
                f"There is no credential {name}; give it with --credential {name}=FILE, or as "
                f"PORTCALL_CREDENTIAL_{name.upper()}."
            ) from None


async def _all_ended(engine: Engine, execution_ids: set[str]) -> None:
    for each in execution_ids:
        await engine.ended(each)


async def _look(engine: Engine) -> None:
    """Ring when another process has written."""
    seen = await engine.look()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = await engine.look()
        if now != seen:
            seen = now
            engine.ring()


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
