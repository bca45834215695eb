"""Which process is meant: a pid alone is reused, so it goes with the boot and the start time.

Standard library only and light, since it is also used where every page of memory counts.
"""

from __future__ import annotations

import functools
import os
import signal as signals

_STATE, _START_TIME = 0, 19
"""Places in /proc/<pid>/stat after the command's name (proc_pid_stat(5))."""


@functools.cache
def boot_id() -> str:
    """The kernel's random id of this boot (proc_sys_kernel(5), random/boot_id)."""
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:  # noqa: PTH123 - pathlib is heavy
        return file.read().strip().decode()


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - pathlib is heavy
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] in (b"Z", b"X") else int(fields[_START_TIME])


class ProcessId:
    """One process of one boot, shared by no other. `started` is in clock ticks since boot."""

    __slots__ = ("boot", "pid", "started")

    def __init__(self, boot: str, pid: int, started: int) -> None:
        self.boot = boot
        self.pid = pid
        self.started = started

    @classmethod
    def current(cls) -> ProcessId:
        return cls(boot_id(), os.getpid(), start_time(os.getpid()) or 0)

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has this pid now; None when there is none."""
        started = start_time(pid)
        return None if started is None else cls(boot_id(), pid, started)

    @classmethod
    def parse(cls, text: str) -> ProcessId:
        """The reverse of `str`. Raises `ValueError` for any other text."""
        boot, pid, started = text.split(":")
        if not boot:
            raise ValueError("a process is written <boot id>:<pid>:<start time>")
        return cls(boot, int(pid), int(started))

    def alive(self) -> bool:
        """Whether it still runs. A zombie has ended."""
        return self.boot == boot_id() and start_time(self.pid) == self.started

    def open(self) -> int | None:
        """A pidfd of this very process, which polls as readable when it ends; None when it has ended."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():
            return fd
        os.close(fd)
        return None

    def signal(self, number: int) -> bool:
        """Send a signal, never to another process that has got the pid; False when it has ended."""
        fd = self.open()
        if fd is None:
            return False
        try:
            signals.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)
        return True

    def __str__(self) -> str:
        return f"{self.boot}:{self.pid}:{self.started}"

    def __repr__(self) -> str:
        return f"ProcessId({self.boot!r}, {self.pid}, {self.started})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProcessId) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.boot, self.pid, self.started))
