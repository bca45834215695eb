"""SQLite: one writer takes all that waits, runs each transaction function, commits once.

Each function runs in its own savepoint, so that one that fails takes back only its own writes. The
commit is made durable by fsync (`synchronous=FULL`) before any caller hears of it.

A server writes in a thread, so that it goes on reading requests during the fsync. The embedded mode
writes in its event loop: it has nothing else to do meanwhile, and each step is spared two switches
of thread, which cost about as much as the fsync.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from portcall.errors import ConflictError, PortcallError, UnavailableError, UsageError
from portcall.observe import metrics
from portcall.store.queries import QUERIES

T = TypeVar("T")
log = logging.getLogger("portcall.store")
BUSY_SECONDS = 30.0
GROUP = 256
"""Transaction functions in one commit, at most."""


class Transaction:
    """What a transaction function may do: named queries."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    def run(self, name: str, **parameters: Any) -> int:
        """Rows changed."""
        return self._execute(QUERIES[name], parameters).rowcount

    def one(self, name: str, **parameters: Any) -> Any:
        """The first row, or None."""
        return self._execute(QUERIES[name], parameters).fetchone()

    def all(self, name: str, **parameters: Any) -> list[Any]:
        return self._execute(QUERIES[name], parameters).fetchall()

    def many(self, name: str, rows: list[dict[str, Any]]) -> None:
        self._connection.executemany(QUERIES[name], rows)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is done inside is taken back when it raises."""
        self._execute("SAVEPOINT part")
        try:
            yield
        except sqlite3.IntegrityError as error:
            self._execute("ROLLBACK TO part")
            raise ConflictError("it has the id of something else that is kept already") from error
        except Exception:
            self._execute("ROLLBACK TO part")
            raise
        finally:
            self._execute("RELEASE part")

    def version(self) -> int:
        """Changes when another process has written."""
        return int(self._execute("PRAGMA data_version").fetchone()[0])


Work = Callable[[Transaction], T]


Waiting = tuple[Work[Any], "Future[Any] | asyncio.Future[Any]"]


class SqliteStore:
    """`write` runs a transaction function and gives its result once it is on disk."""

    def __init__(self, path: Path, *, threaded: bool = True) -> None:
        self._path = path
        self._threaded = threaded
        self.on_lost: Callable[[PortcallError | None], None] = lambda _: None
        """Called when a commit has failed (with the reason) or a function of one: what was cached in it
        was never written."""
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._pending: list[Waiting] = []
        self._connection: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Make the file and its schema, or bring it up to date. Raises UsageError, UnavailableError."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
            )
        except (OSError, sqlite3.Error) as error:
            raise _explain(error, self._path) from error
        try:
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection)
        except sqlite3.Error as error:
            connection.close()
            raise _explain(error, self._path) from error
        except PortcallError:
            connection.close()
            raise
        self._connection = connection
        if self._threaded:
            self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._flush()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def write(self, work: Work[T]) -> T:
        if self._connection is None:
            raise UnavailableError(f"the database {self._path} is closed")
        if self._thread is None:
            return await self._write_here(work)
        future: Future[T] = Future()
        # A caller that is cancelled no longer listens; its transaction is not taken back.
        future.set_running_or_notify_cancel()
        self._queue.put((work, future))
        return await asyncio.wrap_future(future)

    async def _write_here(self, work: Work[T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._pending.append((work, future))
        if len(self._pending) == 1:
            loop.call_soon(self._flush)
        return await future

    def _flush(self) -> None:
        group, self._pending = self._pending, []
        for start in range(0, len(group), GROUP):
            self._commit(group[start : start + GROUP])

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            group = [item]
            closing = False
            while len(group) < GROUP:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    closing = True
                    break
                group.append(more)
            self._commit(group)
            if closing:
                return

    def _lost(self, reason: PortcallError | None) -> None:
        try:
            self.on_lost(reason)
        except Exception:  # whoever waits for the commit must hear of it all the same
            log.exception("the callback for a lost commit failed")

    def _commit(self, group: list[Waiting]) -> None:
        connection = self._connection
        assert connection is not None, "the store is open"  # noqa: S101 - for the type checker
        ends: list[tuple[Any, Exception | None]] = []
        began = time.perf_counter()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for work, _ in group:
                try:
                    ends.append((_one(connection, work, alone=len(group) == 1), None))
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - its caller hears of it; the others go on
                    if not isinstance(error, PortcallError):
                        self._lost(None)  # a defect: what it has cached before is taken back
                    ends.append((None, error))
            connection.execute("COMMIT")
            metrics.count("store_commits", result="done")
            metrics.count("store_transactions", len(group))
            metrics.observe_seconds("store_commit_seconds", time.perf_counter() - began)
        except sqlite3.Error as error:
            metrics.count("store_commits", result="failed")
            with suppress(sqlite3.Error):  # it may be gone already, and whoever waits must still hear of it
                connection.execute("ROLLBACK")
            reason = _explain(error, self._path)
            self._lost(reason)
            ends = [(None, reason)] * len(group)
        for (_, future), (result, failure) in zip(group, ends, strict=True):
            if future.done():
                continue
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)


def _one(connection: sqlite3.Connection, work: Work[T], *, alone: bool) -> T:
    """Run one function. In a group it has a savepoint; alone the whole transaction is its own."""
    transaction = Transaction(connection)
    if not alone:
        with transaction.savepoint():
            return work(transaction)
    try:
        return work(transaction)
    except sqlite3.Error:
        raise
    except Exception:
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
        raise


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. SQLite does not wait by itself where two processes make one file at once."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply what is newer than the database, forwards only, under the write lock."""
    scripts = sorted(Path(__file__).with_name("migrations").glob("*.sql"))
    if connection.execute("PRAGMA user_version").fetchone()[0] == len(scripts):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(scripts):
            raise UsageError(
                f"the database was made by a newer portcall (schema {version}, this one knows {len(scripts)}): "
                "upgrade portcall, or name another database with --db"
            )
        for script in scripts[version:]:
            for statement in _statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _statements(script: str) -> list[str]:
    statements, buffer = [], ""
    for line in script.splitlines(keepends=True):
        buffer += line
        if sqlite3.complete_statement(buffer):
            statements.append(buffer)
            buffer = ""
    return statements


def _explain(error: Exception, path: Path) -> PortcallError:
    text = str(error)
    if "full" in text:
        return UnavailableError(f"the disk that holds {path} is full: make room; nothing was lost")
    if "locked" in text or "busy" in text:
        return UnavailableError(
            f"the database {path} is locked by another process: try again when it has ended"
        )
    if "not a database" in text or "malformed" in text:
        return UsageError(f"{path} is not a portcall database, or is damaged: name another with --db")
    if "unable to open" in text or isinstance(error, OSError):
        return UsageError(f"cannot open the database {path}: {text}")
    return UnavailableError(f"the database {path} failed: {text}")
