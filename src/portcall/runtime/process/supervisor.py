"""The process that stays with one container, whatever else dies, and records how it went.

It lives in the job's folder, holds the folder's lock for as long as it lives, and talks to no one:
its files are its answers. Single-threaded and small, since there may be thousands.
Standard library only.
"""

# ruff: noqa: PTH110, PTH119 - pathlib would cost every supervisor memory

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import time

from portcall.process import ProcessId
from portcall.runtime.process import bell, record, tree
from portcall.runtime.process.cgroup import Limits, Parents
from portcall.runtime.process.container import Container, become_supervisor
from portcall.runtime.process.output import Output
from portcall.runtime.process.plan import plan
from portcall.runtime.process.record import Record

RETRY_SECONDS = 1.0
SCAN_SHARE = 50
"""Memory is sampled at most this many times its own cost apart, so that sampling stays below 2 % of a core."""


class Options:
    """What a runtime sets for all its supervisors. Seconds and bytes."""

    def __init__(self, settings: Record, parents: Parents, umask: int) -> None:
        self.root = str(settings["root"])
        self.log_bytes = int(settings["log_bytes"])
        self.grace = float(settings["grace"])
        self.memory_poll = float(settings["memory_poll"])
        self.parents = parents
        self.umask = umask


def supervise(folder: str, options: Options, reply: int) -> None:
    """Run the job of a folder to its end. `reply` gets one line when the start is decided, or nothing.

    `ok`: recorded. `error <errno>`: nothing was started, and trying again may help.
    """
    os.chdir(folder)
    lock = os.open(record.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    begun = record.read_json(record.START) or {}
    if "container" in begun or os.path.exists(record.EXIT):
        return
    supervisor = Supervisor(folder, options)
    try:
        started = supervisor.start()
    except OSError as error:
        supervisor.give_up()
        os.write(reply, f"error {error.errno}".encode())
        return
    if not started:
        supervisor.record_exit()
    with contextlib.suppress(BrokenPipeError):  # the runtime that asked has died; the job goes on
        os.write(reply, b"ok")
    os.close(reply)
    bell.ring(supervisor.bells, supervisor.name)
    if started:
        supervisor.watch()
        supervisor.record_exit()
        bell.ring(supervisor.bells, supervisor.name)


class Supervisor:
    def __init__(self, folder: str, options: Options) -> None:
        self._options = options
        self.name = os.path.basename(folder)
        self.bells = f"{options.root}/{record.BELLS}"
        whole = record.read_json(record.SPEC) or {}
        self._spec: Record = whole["spec"]
        self._folder = folder
        self._exit: Record = {"started": False}
        self._ended_by = ""
        self._status: int | None = None
        self._deadline = self._kill_at = self._sample_at = float("inf")
        self._limit = 0
        self._limits: Limits | None = None
        self._begun: Record = {}

    # -- the start -----------------------------------------------------------------------------

    def start(self) -> bool:
        """True when the container runs; False when it ended before it began, in `_exit`."""
        become_supervisor()
        self._wakeup, wake = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, _noted)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._begun = {"supervisor": str(ProcessId.current()), "at": time.time()}
        record.write_json(record.START, self._begun)
        if (reason := self._stop_reason()) is not None:
            self._exit["ended_by"] = reason
            return False
        argv, env = plan(self._spec, self._folder)
        if not argv:
            self._exit["error"] = {"what": "empty"}
            return False
        return self._start(argv, env)

    def give_up(self) -> None:
        """Nothing was started: leave nothing behind but the folder."""
        if self._limits is not None:
            self._limits.remove()

    def _start(self, argv: list[str], env: dict[str, str]) -> bool:
        workdir = str(self._spec.get("workdir", "."))
        self._container = Container(argv, env, workdir, self._options.umask)
        self._output = Output(self._container.output, self._options.log_bytes)
        limits = self._make_limits()
        now = time.time()
        pid = ProcessId.of(self._container.pid)
        self._begun |= {"container": str(pid), "started": now, "cgroups": limits.folders}
        record.write_json(record.START, self._begun)
        error = self._container.start()
        if error is not None:
            os.waitpid(self._container.pid, 0)
            limits.remove()
            self._exit["error"] = error
            return False
        self._exit["started"] = True
        if self._spec.get("timeout_seconds") is not None:
            self._deadline = time.monotonic() + self._spec["timeout_seconds"]
        return True

    def _make_limits(self) -> Limits:
        memory, cores = self._spec.get("memory_limit"), self._spec.get("cpu_limit")
        limits = self._limits = Limits(self._options.parents, self.name, memory, cores)
        limits.add(self._container.pid)
        if memory is not None and "memory" not in limits.enforced:
            self._limit = memory
            self._sample_at = time.monotonic()
        self._exit["enforced"] = sorted(limits.enforced)
        return limits

    def _stop_reason(self) -> str | None:
        words = record.read(record.STOP, 64)
        return None if words is None else words.decode()

    # -- the container's life -----------------------------------------------------------------------

    def watch(self) -> None:
        """Until the container has ended, and everything it left behind."""
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        poller.register(self._output.pipe, select.POLLIN)
        if self._stop_reason() is not None:
            self._stop()
        self._reap()
        while self._status is None:
            for fd, _ in poller.poll(self._patience()):
                if fd == self._wakeup:
                    self._signalled()
                elif not self._output.take():
                    poller.unregister(fd)
            self._tick(time.monotonic())
        tree.end_all()
        self._output.drain()

    def _patience(self) -> float | None:
        """Milliseconds until the next thing to do by the clock; None: there is none."""
        next_at = min(self._deadline, self._kill_at, self._sample_at)
        return None if next_at == float("inf") else max(0.0, (next_at - time.monotonic()) * 1000 + 1)

    def _signalled(self) -> None:
        numbers = os.read(self._wakeup, 4096)
        self._reap()
        if signal.SIGTERM in numbers and self._status is None:
            self._stop()

    def _reap(self) -> None:
        while self._status is None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == self._container.pid:
                self._status = status
            if pid == 0:
                return

    def _stop(self) -> None:
        """On request. A supervisor that is told to end without a reason is a job that somebody deleted."""
        self._end(self._stop_reason() or "deleted")

    def _end(self, why: str) -> None:
        if not self._ended_by:
            self._ended_by = why
            self._kill_at = time.monotonic() + self._options.grace
            self._deadline = float("inf")
            tree.send(signal.SIGTERM, tree.descendants(os.getpid()))

    def _tick(self, now: float) -> None:
        if self._status is not None:
            return
        if now >= self._deadline:
            self._end("timeout")
        if now >= self._kill_at:
            self._kill_at = now + RETRY_SECONDS
            tree.send(signal.SIGKILL, tree.descendants(os.getpid()))
        if now >= self._sample_at:
            self._sample(now)

    def _sample(self, now: float) -> None:
        pids = tree.descendants(os.getpid())
        if tree.memory(pids, self._limit) > self._limit:
            self._ended_by = "memory"
            tree.send(signal.SIGKILL, pids)
        cost = time.monotonic() - now
        self._sample_at = now + max(self._options.memory_poll, SCAN_SHARE * cost)

    # -- the end -------------------------------------------------------------------------------------

    def record_exit(self) -> None:
        """Put the exit on disk, trying for as long as it takes."""
        self._exit |= {"finished": time.time()}
        if self._status is not None and self._limits is not None:
            code = os.waitstatus_to_exitcode(self._status)
            self._exit |= {"code": code} if code >= 0 else {"signal": -code}
            self._exit |= {
                "ended_by": self._ended_by,
                "oom_kills": self._limits.oom_kills(),
                "output_lost": self._output.lost,
            }
            self._limits.remove()
        while True:
            try:
                record.write_json(record.EXIT, self._exit, sync=True)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return  # the folder is gone
                time.sleep(RETRY_SECONDS)
            else:
                return


def _noted(_number: int, _frame: object) -> None:
    """The wake-up pipe carries the number; without a handler there would be none."""
