"""The runtime's side of the fork server: start it when it is needed, ask it for supervisors, end it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from portcall.errors import UnavailableError
from portcall.runtime.process.plan import base_environment
from portcall.runtime.process.record import Record

IN_FLIGHT = 32
"""Requests at a time: few enough that the socket always has room for one."""
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from portcall.runtime.process.zygote import main; main()"


class ForkServer:
    """`settings`: what `supervisor.Options` reads."""

    def __init__(self, settings: Record) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._room = asyncio.Semaphore(IN_FLIGHT)

    async def supervise(self, folder: Path) -> str:
        """Fork a supervisor for the job's folder; its answer (see `supervisor.supervise`)."""
        async with self._room:
            answer, reply = os.pipe()
            try:
                try:
                    self._send(folder, reply)
                finally:
                    os.close(reply)
                return (await _read(answer)).decode()
            finally:
                os.close(answer)

    def _send(self, folder: Path, reply: int) -> None:
        try:
            socket.send_fds(self._running(), [os.fsencode(folder)], [reply])
        except ConnectionError:  # it has died: the supervisors have not
            self.close()
            socket.send_fds(self._running(), [os.fsencode(folder)], [reply])

    def _running(self) -> socket.socket:
        if self._socket is None:
            self._start()
        if self._socket is None:
            raise UnavailableError("The process runtime's fork server could not be started.")
        return self._socket

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        package = str(Path(__file__).parents[3])
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, package, json.dumps(self._settings)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=base_environment(),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            text = f"The process runtime's fork server could not be started: {error.strerror}."
            raise UnavailableError(text) from error
        finally:
            theirs.close()
        self._socket = ours

    def close(self) -> None:
        """End the fork server; supervisors stay."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.wait()
        self._socket = self._process = None


async def _read(fd: int) -> bytes:
    """What is written to a pipe until it is closed, or its first line: the answer is one write."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    os.set_blocking(fd, False)
    loop.add_reader(fd, _resolve, ready)
    try:
        await ready
        return os.read(fd, 256)
    finally:
        loop.remove_reader(fd)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
