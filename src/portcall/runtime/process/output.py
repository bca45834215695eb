"""What a container prints: kept up to a bound, the older half given up first; never holds it up.

Standard library only: the supervisors use it.
"""

# ruff: noqa: PTH104 - pathlib would cost every supervisor memory

from __future__ import annotations

import os

from portcall.runtime.process import record

CHUNK = 16384


class Output:
    """From the pipe to `output.log`, which at `limit` bytes becomes `output.log.1`."""

    def __init__(self, pipe: int, limit: int) -> None:
        os.set_blocking(pipe, False)
        self.pipe = pipe
        self.lost = 0
        """Bytes that could not be written."""
        self._limit = limit
        self._size = 0
        self._file = self._open()

    def _open(self) -> int:
        try:
            return os.open(record.OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            return -1

    def take(self) -> bool:
        """Read what is there; False at the end of the output."""
        try:
            data = os.read(self.pipe, CHUNK)
        except BlockingIOError:
            return True
        self._write(data)
        return bool(data)

    def drain(self) -> None:
        """Take the rest, when every process that could print has ended."""
        while True:
            try:
                data = os.read(self.pipe, CHUNK)
            except BlockingIOError:
                return
            if not data:
                return
            self._write(data)

    def _write(self, data: bytes) -> None:
        while data:
            if self._size >= self._limit:
                self._rotate()
            part = data[: self._limit - self._size]
            try:
                written = os.write(self._file, part)
            except OSError:
                self.lost += len(data)  # the disk is full: the container goes on, its output does not
                return
            self._size += written
            data = data[written:]

    def _rotate(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        os.rename(record.OUTPUT, record.ROTATED)
        self._file = self._open()
        self._size = 0
