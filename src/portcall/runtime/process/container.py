"""Start the one child that is the container: held at a gate until its start is on record.

The child waits on a pipe before it becomes the command, so that a supervisor that dies before it
has recorded the container has proven that nothing ran.
Standard library only: the supervisors use it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal

from portcall.runtime.process.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP)


def become_supervisor() -> None:
    """Adopt whatever the container leaves behind, and be told apart in `ps`."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_NAME, b"portcall-job", 0, 0, 0)


class Container:
    """The child. `pid` stays the same when it becomes the command."""

    def __init__(self, argv: list[str], env: dict[str, str], workdir: str, umask: int) -> None:
        gate, self._open_gate = os.pipe()
        self._failure, failure = os.pipe()
        self.output, output = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._open_gate)
                _wait_at(gate, parent)
                _become(argv, env, workdir, umask, output)
            except (OSError, ValueError) as error:  # ValueError: text that no process can be given
                os.write(failure, json.dumps(_failure(error, workdir)).encode())
            finally:
                os._exit(127)
        for fd in (gate, failure, output):
            os.close(fd)

    def start(self) -> Record | None:
        """Open the gate. None: the command runs; otherwise why it could not be started."""
        with contextlib.suppress(BrokenPipeError):  # it was killed at the gate: its exit tells
            os.write(self._open_gate, b"1")
        os.close(self._open_gate)
        words = os.read(self._failure, 4096)
        os.close(self._failure)
        return dict(json.loads(words)) if words else None


def _failure(error: OSError | ValueError, workdir: str) -> Record:
    if isinstance(error, ValueError):
        return {"errno": errno.EINVAL, "what": "command"}
    return {"errno": error.errno, "what": "workdir" if error.filename == workdir else "command"}


def _wait_at(gate: int, parent: int) -> None:
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent or os.read(gate, 1) != b"1":
        os._exit(127)


def _become(argv: list[str], env: dict[str, str], workdir: str, umask: int, output: int) -> NoReturn:
    signal.set_wakeup_fd(-1)
    for number in _DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.umask(umask)
    os.chdir(workdir)
    os.execvpe(argv[0], argv, env)  # noqa: S606 - words, not a shell line, are what a container is
