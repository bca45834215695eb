"""Reading what a container printed: all of it, its end, or as it comes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from portcall.runtime.process import record

CHUNK = 65536
FOLLOW_SECONDS = 0.2


def tail(folder: Path, limit: int) -> bytes:
    """The last `limit` bytes of the output."""
    end = _end_of(folder / record.OUTPUT, limit)
    if len(end) < limit:
        end = _end_of(folder / record.ROTATED, limit - len(end)) + end
    return end


def _end_of(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
            return file.read(limit)
    except FileNotFoundError:
        return b""


async def read(find: Callable[[], Path | None], *, follow: bool) -> AsyncIterator[bytes]:
    """The output from its start; with `follow`, on until its exit is recorded.

    `find` gives the job's folder, which may be set aside meanwhile.
    """
    reader = _Reader(find)
    try:
        for chunk in reader.earlier():
            yield chunk
        while True:
            over = not follow or reader.ended()
            for chunk in reader.fresh():
                yield chunk
            if over:
                return
            await asyncio.sleep(FOLLOW_SECONDS)
    finally:
        reader.close()


class _Reader:
    """A place in the output that stays right when the file is rotated under it."""

    def __init__(self, find: Callable[[], Path | None]) -> None:
        self._find = find
        self._fd: int | None = None
        self._current = self._open(record.OUTPUT)

    def _open(self, name: str) -> int | None:
        folder = self._find()
        if folder is None:
            return None
        try:
            return os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None

    def earlier(self) -> Iterator[bytes]:
        """What was rotated away before this reader came."""
        fd = self._open(record.ROTATED)
        if fd is None:
            return
        try:
            if self._current is None or os.fstat(fd).st_ino != os.fstat(self._current).st_ino:
                yield from _rest(fd)
        finally:
            os.close(fd)

    def fresh(self) -> Iterator[bytes]:
        """What has come since the last time."""
        while True:
            newest = self._open(record.OUTPUT)
            if self._current is not None:
                yield from _rest(self._current)
            if newest is None or _same(newest, self._current):
                if newest is not None:
                    os.close(newest)
                return
            self.close()
            self._current = newest

    def ended(self) -> bool:
        folder = self._find()
        return folder is None or (folder / record.EXIT).exists()

    def close(self) -> None:
        if self._current is not None:
            os.close(self._current)
            self._current = None


def _rest(fd: int) -> Iterator[bytes]:
    while chunk := os.read(fd, CHUNK):
        yield chunk


def _same(one: int, other: int | None) -> bool:
    return other is not None and os.fstat(one).st_ino == os.fstat(other).st_ino
