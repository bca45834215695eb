"""How supervisors wake observers: each observer owns a named pipe, and a line in it names a job.

A line is a hint to read the job's folder again, nothing more. Pipes, because writing a line is
atomic, a path may be long, and the writer learns at once when no observer is left.
Standard library only: the supervisors use it.
"""

# ruff: noqa: PTH103, PTH104, PTH108, PTH208 - pathlib would cost every supervisor memory

from __future__ import annotations

import contextlib
import errno
import os
import select

PATIENCE_MS = 2000
"""How long a supervisor waits for room in the pipe of an observer that does not read."""


def ring(directory: str, name: str) -> None:
    """Name the job to every observer, and remove the pipes of dead ones."""
    try:
        pipes = [entry for entry in os.listdir(directory) if not entry.startswith(".")]
    except OSError:
        return
    for pipe in pipes:
        _ring_one(f"{directory}/{pipe}", name)


def _ring_one(path: str, name: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            _remove(path)
        return
    try:
        _write(fd, f"{name}\n".encode())
    except OSError:
        pass  # the observer has just gone
    finally:
        os.close(fd)


def _write(fd: int, line: bytes) -> None:
    try:
        os.write(fd, line)
    except BlockingIOError:
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        if poller.poll(PATIENCE_MS):
            os.write(fd, line)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def hang(directory: str, pipe: str) -> int:
    """Make an observer's pipe and open it for reading; it appears only when there is a reader."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    hidden = f"{directory}/.{pipe}"
    os.mkfifo(hidden, 0o600)
    fd = os.open(hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    os.rename(hidden, f"{directory}/{pipe}")
    return fd


def take_down(directory: str, pipe: str, fd: int) -> None:
    _remove(f"{directory}/{pipe}")
    os.close(fd)
