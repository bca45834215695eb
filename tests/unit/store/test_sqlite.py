"""The SQLite store: groups, savepoints, failures, migrations, other processes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from portcall.errors import UnavailableError, UsageError
from portcall.store.queries import QUERIES, load
from portcall.store.sqlite import SqliteStore, Transaction


def put(digest: str) -> Callable[[Transaction], int]:
    return lambda tx: tx.run("put_playbook", digest=digest, text="t", file="f")


def get(digest: str) -> Callable[[Transaction], Any]:
    return lambda tx: tx.one("get_playbook", digest=digest)


THREADED = [True]


@pytest.fixture(params=[True, False], ids=["in a thread", "in the loop"], autouse=True)
def _mode(request: pytest.FixtureRequest) -> None:
    THREADED[0] = request.param


def on(path: Path, work: Callable[[SqliteStore], Coroutine[Any, Any, Any]]) -> Any:
    async def whole() -> Any:
        store = SqliteStore(path, threaded=THREADED[0])
        store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    on(tmp_path / "x.db", lambda store: store.write(put("a")))
    assert on(tmp_path / "x.db", lambda store: store.write(get("a"))) == ("t", "f")


def test_a_function_that_fails_takes_back_only_its_own_writes(tmp_path: Path) -> None:
    def bad(tx: Transaction) -> None:
        put("bad")(tx)
        raise ValueError("no")

    async def work(store: SqliteStore) -> Any:
        results = await asyncio.gather(
            *(store.write(w) for w in (put("a"), bad, put("b"))), return_exceptions=True
        )
        found = [await store.write(get(d)) for d in ("a", "bad", "b")]
        return results, found

    results, found = on(tmp_path / "x.db", work)
    assert isinstance(results[1], ValueError)
    assert [row is not None for row in found] == [True, False, True]


def test_a_function_alone_that_fails_takes_back_its_writes(tmp_path: Path) -> None:
    def bad(tx: Transaction) -> None:
        put("bad")(tx)
        raise ValueError("no")

    async def work(store: SqliteStore) -> Any:
        with pytest.raises(ValueError, match="no"):
            await store.write(bad)
        return await store.write(get("bad"))

    assert on(tmp_path / "x.db", work) is None


def test_a_caller_that_no_longer_listens_does_not_stop_the_store(tmp_path: Path) -> None:
    async def work(store: SqliteStore) -> Any:
        leaving = asyncio.ensure_future(store.write(put("a")))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        return await store.write(get("a"))

    assert on(tmp_path / "x.db", work) == ("t", "f")


def test_a_full_disk_is_said_and_nothing_is_kept_and_it_goes_on(tmp_path: Path) -> None:
    lost = []

    async def work(store: SqliteStore) -> None:
        store.on_lost = lambda _: lost.append(True)
        limit = await store.write(lambda tx: tx._connection.execute("PRAGMA max_page_count = 60").fetchone())
        assert limit[0] == 60
        big = "x" * 1_000_000
        with pytest.raises(UnavailableError, match="full"):
            await store.write(lambda tx: tx.run("put_playbook", digest="a", text=big, file="f"))
        assert await store.write(get("a")) is None
        await store.write(put("b"))

    on(tmp_path / "x.db", work)
    assert lost == [True]


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello, this is text, and long enough to be looked at as a header" * 20)
    with pytest.raises(UsageError, match="not a portcall database"):
        SqliteStore(tmp_path / "x.db").open()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    on(tmp_path / "x.db", lambda store: store.write(put("a")))
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UsageError, match="newer portcall"):
        SqliteStore(tmp_path / "x.db").open()


def test_the_folder_is_private(tmp_path: Path) -> None:
    on(tmp_path / "new" / "x.db", lambda store: store.write(put("a")))
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_another_process_changes_the_version(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    async def work(store: SqliteStore) -> tuple[int, int, int]:
        first = await store.write(lambda tx: tx.version())
        await store.write(put("mine"))
        own = await store.write(lambda tx: tx.version())
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
            "c.execute(\"INSERT INTO playbook VALUES ('o', 't', 'f')\"); c.commit()"
        )
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, str(path)], check=True)
        return first, own, await store.write(lambda tx: tx.version())

    first, own, other = on(path, work)
    assert first == own
    assert other != own


def test_synchronous_is_full(tmp_path: Path) -> None:
    row = on(
        tmp_path / "x.db",
        lambda store: store.write(lambda tx: tx._connection.execute("PRAGMA synchronous").fetchone()),
    )
    assert row == (2,)


def test_queries_are_loaded_by_name() -> None:
    assert load("-- a comment of several words\n\n-- one\nSELECT 1\n\n-- two\nSELECT\n  2\n") == {
        "one": "SELECT 1",
        "two": "SELECT\n  2",
    }


def test_every_query_is_valid_on_the_schema(tmp_path: Path) -> None:
    class Anything(dict[str, int]):
        def __missing__(self, key: str) -> int:
            return 0

    def explain(tx: Transaction) -> None:
        for query in QUERIES.values():
            tx._connection.execute(f"EXPLAIN {query}", Anything())

    on(tmp_path / "x.db", lambda store: store.write(explain))
