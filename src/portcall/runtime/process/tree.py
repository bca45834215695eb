"""The processes below a process: who they are, what memory they hold, how to end them all.

Standard library only: the supervisors use it.
"""

# ruff: noqa: PTH110, PTH123, PTH208 - pathlib would cost every supervisor memory

from __future__ import annotations

import contextlib
import os
import signal

_PAGE = os.sysconf("SC_PAGE_SIZE")
_HAS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents first. Kernels without CONFIG_PROC_CHILDREN cost a scan."""
    children = _children if _HAS_CHILDREN else _scan()
    found = list(children(pid))
    for one in found:
        found.extend(children(one))
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except OSError:
        pass  # it has just ended; its children have another parent now
    return found


class _Scanned:
    def __init__(self) -> None:
        self._below: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                self._add(int(entry))

    def _add(self, pid: int) -> None:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            return
        self._below.setdefault(parent, []).append(pid)

    def __call__(self, pid: int) -> list[int]:
        return self._below.get(pid, [])


def _scan() -> _Scanned:
    return _Scanned()


def memory(pids: list[int], limit: int) -> int:
    """Bytes that the processes hold. Shared pages count once, when counting them often exceeds `limit`."""
    resident = sum(map(_resident, pids))
    return resident if resident <= limit else sum(map(_proportional, pids))


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))


def send(number: int, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it may have just ended
            os.kill(pid, number)


def end_all() -> None:
    """Kill everything below this process, a subreaper, and wait for it."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        send(signal.SIGKILL, descendants(os.getpid()))
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def left_behind(leader: int | None, mark: str) -> list[int]:
    """Processes of the session that `leader` made, and those with `mark` (`NAME=value`) in their environment.

    A process that outlived its parents is not below anybody any more, but its environment is still its own.
    """
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _belongs(entry, leader, mark)]


def _belongs(pid: str, leader: int | None, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            session = int(file.read().rpartition(b")")[2].split()[3])
        if session == leader:
            return True
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark.encode() in file.read().split(b"\0")
    except OSError:
        return False
