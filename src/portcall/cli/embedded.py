"""The engine in this process: the one place where commands reach the composition in `portcall.local`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from portcall.client.port import Client
from portcall.errors import NotFoundError, UsageError
from portcall.runtime.port import Runtime


class Engine(Protocol):
    """What `portcall.local.Local` gives: engine, worker, watcher and timers in this process."""

    @property
    def client(self) -> Client: ...

    @property
    def slots(self) -> int: ...

    @property
    def busy(self) -> int:
        """Slots in use."""
        ...

    async def drive(self, execution_ids: set[str] | None) -> None:
        """Work until these executions have ended."""
        ...


class ReplayReport(Protocol):
    @property
    def events(self) -> int: ...

    @property
    def same(self) -> bool: ...

    @property
    def differences(self) -> list[str]: ...


class Stored(Client, Protocol):
    """A client on a database, without worker and watcher."""

    async def replay(self, execution_id: str) -> ReplayReport: ...


EngineContext = AbstractAsyncContextManager[Engine]


def require_runtime(name: str) -> None:
    if name != "process":
        raise UsageError(
            f"--runtime {name} is not in this version, which has only `process`: containers as local processes."
        )


def prepare(db: Path) -> Path:
    """The database's absolute path, its folder made (private) if it is not there."""
    path = db.absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{error.filename} is a file, not a folder; name another database with --db."
        ) from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(
            f"The folder {path.parent} cannot be made: {reason}; name another database with --db."
        ) from error
    return path


def existing(db: Path) -> Path:
    if not db.is_file():
        raise NotFoundError(
            f"There is no database at {db}; name it with --db, or start with: portcall run FILE"
        )
    return db.absolute()


def engine(
    db: Path,
    *,
    runtime: str,
    slots: int,
    credentials: Mapping[str, Mapping[str, Any]],
    catalog: Path | None,
) -> EngineContext:
    require_runtime(runtime)
    from portcall import local

    return local.Local(
        prepare(db),
        runtime=runtime,
        slots=slots,
        workdir=Path.cwd(),
        credentials=credentials,
        catalog=catalog,
    )


def store(db: Path) -> AbstractAsyncContextManager[Stored]:
    from portcall import local

    return local.open_store(db.absolute())


def runtime(db: Path) -> AbstractAsyncContextManager[Runtime]:
    """The runtime whose containers the executions of this database use."""
    from portcall import local

    return local.open_runtime(db.absolute())


async def owner_of(db: Path, execution_id: str) -> int | None:
    """The pid of the live process that drives the execution."""
    from portcall import local

    # It runs an event loop of its own.
    return await asyncio.to_thread(local.owner_of, db, execution_id)
