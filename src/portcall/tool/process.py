"""One operating-system process for one call, in its own group, which never outlives the call.

The group is killed when the call ends, times out or is cancelled, and by the kernel when this
process dies. What the leader wrote is read to the last byte; nothing waits for a grandchild that
keeps a pipe open.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from portcall.errors import ToolError, UnavailableError

Sink = Callable[[bytes], None]

_CHUNK = 65_536
_LINE = 8_192
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
_F_SETSIG = getattr(fcntl, "F_SETSIG", 10)


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. `stdin` becomes its standard input, `pass_fds` keep their numbers."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    stdin: int = subprocess.DEVNULL
    pass_fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """`code`: the exit code, or minus the signal's number."""

    code: int
    timed_out: bool = False

    @property
    def signal_name(self) -> str | None:
        if self.code >= 0:
            return None
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"


def clean_environment() -> dict[str, str]:
    """The few variables that programs need; the rest of this process's environment may hold secrets."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


async def run(program: Program, timeout: float | None, output: Sink, errors: Sink | None = None) -> Ended:  # noqa: ASYNC109 - the group is killed at the timeout, and its output still read
    """Run it to its end. Without `errors`, standard error goes where `output` goes, in order.

    Raises `ToolError` (kind `config`) when it cannot be started. When this is cancelled, the
    whole group is killed first.
    """
    with contextlib.ExitStack() as pipes:
        out = pipes.enter_context(_pipe())
        err = pipes.enter_context(_pipe()) if errors else None
        lifeline = pipes.enter_context(_pipe())
        process = _popen(program, out, err, lifeline)
        try:
            _die_with_us(process.pid, lifeline)
            lifeline.close_reader()
            with _reading(out, output), _reading(err, errors):
                timed_out = await _exited(process, timeout)
        finally:
            _kill_group(process.pid)
            process.wait()
    return Ended(process.returncode, timed_out)


class _Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def close_reader(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


@contextlib.contextmanager
def _pipe() -> Iterator[_Pipe]:
    pipe = _Pipe()
    try:
        yield pipe
    finally:
        pipe.close_reader()
        pipe.close_writer()


def _popen(program: Program, out: _Pipe, err: _Pipe | None, lifeline: _Pipe) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(  # noqa: S603 - running what the playbook says is the purpose
            list(program.argv),
            cwd=program.cwd,
            env=dict(program.env),
            stdin=program.stdin,
            stdout=out.writer,
            stderr=err.writer if err else subprocess.STDOUT,
            pass_fds=(*program.pass_fds, lifeline.reader),
            start_new_session=True,
        )
    except BlockingIOError as error:
        raise UnavailableError("This machine can start no more processes now; try again later.") from error
    except (OSError, ValueError) as error:
        raise ToolError(_why_not(program, error), kind="config") from error
    out.close_writer()
    if err:
        err.close_writer()
    return process


def _why_not(program: Program, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return "The process cannot be started: its command or environment holds a NUL character."
    if not Path(program.cwd).is_dir():
        return f"The working directory {program.cwd} does not exist or is no directory; set cwd."
    name = program.argv[0]
    if isinstance(error, FileNotFoundError):
        return f"There is no program {name} on this machine; install it, or correct the command."
    return f"The program {name} cannot be started: {error.strerror}."


def _die_with_us(group: int, lifeline: _Pipe) -> None:
    """Let the kernel kill the group when the writing end closes, as it does when this process dies.

    fcntl(2): O_ASYNC with F_SETOWN to a process group and F_SETSIG. The descriptor stays open in
    the group; where a program closes it, or the kernel has no such signal, only this safety is lost.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(lifeline.reader, fcntl.F_SETOWN, -group)
        fcntl.fcntl(lifeline.reader, _F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline.reader, fcntl.F_GETFL)
        fcntl.fcntl(lifeline.reader, fcntl.F_SETFL, flags | os.O_ASYNC)


@contextlib.contextmanager
def _reading(pipe: _Pipe | None, sink: Sink | None) -> Iterator[None]:
    """Hand over what comes as it comes, and at the end what is still in the pipe."""
    if pipe is None or sink is None:
        yield
        return
    loop = asyncio.get_running_loop()
    os.set_blocking(pipe.reader, False)
    loop.add_reader(pipe.reader, partial(_read_some, loop, pipe.reader, sink))
    try:
        yield
    finally:
        loop.remove_reader(pipe.reader)
        # A pipe holds 64 KiB and the leader has ended: this is bounded even if a grandchild still writes.
        for _ in range(2):
            with contextlib.suppress(BlockingIOError):
                sink(os.read(pipe.reader, _CHUNK))


def _read_some(loop: asyncio.AbstractEventLoop, reader: int, sink: Sink) -> None:
    with contextlib.suppress(BlockingIOError):
        chunk = os.read(reader, _CHUNK)
        if chunk:
            sink(chunk)
        else:
            loop.remove_reader(reader)


async def _exited(process: subprocess.Popen[bytes], timeout: float | None) -> bool:  # noqa: ASYNC109 - as above
    """Wait for the leader's end; whether it had to be killed for the timeout."""
    async with _end_of(process) as ended:
        done, _ = await asyncio.wait([ended], timeout=timeout)
        if done:
            return False
        # It may end by itself at this very moment: what it exited with then stands. It is left unreaped,
        # so that its number is no other process's when the group is killed.
        if _has_ended(process.pid):
            return False
        _kill_group(process.pid)
        await asyncio.wait([ended])
        return True


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@contextlib.asynccontextmanager
async def _end_of(process: subprocess.Popen[bytes]) -> AsyncIterator[asyncio.Future[Any]]:
    """A future that is done when the process has ended: no thread, no polling (pidfd_open(2))."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # an old kernel, or a sandbox without it
        flags = os.WEXITED | os.WNOWAIT
        yield loop.run_in_executor(None, os.waitid, os.P_PID, process.pid, flags)
        return
    ended: asyncio.Future[object] = loop.create_future()
    loop.add_reader(descriptor, _resolve, ended)
    try:
        yield ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _resolve(ended: asyncio.Future[object]) -> None:
    if not ended.done():
        ended.set_result(None)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class Lines:
    """Bytes to whole lines of text, so that two writers do not mix within a line."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, chunk: bytes) -> None:
        text = self._rest + self._decoder.decode(chunk)
        whole, newline, self._rest = text.rpartition("\n")
        if newline:
            self._log(f"{whole}\n")
        if len(self._rest) >= _LINE:
            self._log(f"{self._rest}\n")
            self._rest = ""

    def close(self) -> None:
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            self._log(f"{rest}\n")


class Tail:
    """The last `limit` bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.cut = False

    def feed(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > 2 * self._limit:
            self._trim()

    def text(self) -> str:
        self._trim()
        return self._kept.decode("utf-8", "replace")

    def _trim(self) -> None:
        over = len(self._kept) - self._limit
        if over > 0:
            self.cut = True
            del self._kept[:over]
