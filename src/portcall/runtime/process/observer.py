"""Which jobs to read again: told by the supervisors' bells, and by the death of a supervisor."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets

from portcall.process import ProcessId
from portcall.runtime.process import bell

SHARE_OF_DESCRIPTORS = 4
"""At most this part of all file descriptors watches supervisors; the others are looked at by the clock."""
LOOK_SECONDS = 2.0


class Observer:
    """One observer of a runtime's root. `directory` is where observers hang their bells."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._pipe = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._fd = bell.hang(directory, self._pipe)
        self._rest = b""
        self._named: dict[str, None] = {}
        self._told = asyncio.Event()
        self._watched: dict[str, int] = {}
        self._unwatched: dict[str, ProcessId] = {}
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE_OF_DESCRIPTORS
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._listen)

    def _listen(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line.decode())

    def _tell(self, name: str) -> None:
        self._named[name] = None
        self._told.set()

    def watch(self, name: str, supervisor: ProcessId) -> None:
        """Tell when this supervisor dies, however it dies."""
        if name in self._watched or name in self._unwatched:
            return
        try:
            fd = supervisor.open() if len(self._watched) < self._most else -1
        except OSError:
            fd = -1
        if fd is None:
            self._tell(name)
        elif fd < 0:
            self._unwatched[name] = supervisor
        else:
            self._watched[name] = fd
            self._loop.add_reader(fd, self._died, name)

    def _died(self, name: str) -> None:
        self.unwatch(name)
        self._tell(name)

    def unwatch(self, name: str) -> None:
        self._unwatched.pop(name, None)
        fd = self._watched.pop(name, None)
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)

    async def names(self) -> list[str]:
        """The jobs to read again: waits for the first."""
        while not self._told.is_set():
            try:
                await asyncio.wait_for(self._told.wait(), LOOK_SECONDS if self._unwatched else None)
            except TimeoutError:
                self._look()
        self._told.clear()
        names, self._named = list(self._named), {}
        return names

    def _look(self) -> None:
        for name, supervisor in list(self._unwatched.items()):
            if not supervisor.alive():
                self._died(name)

    def close(self) -> None:
        for name in list(self._watched):
            self.unwatch(name)
        self._loop.remove_reader(self._fd)
        bell.take_down(self._directory, self._pipe, self._fd)
