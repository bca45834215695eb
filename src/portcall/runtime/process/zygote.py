"""The fork server: one small process from which every supervisor is forked, in place of an interpreter each.

It is a child of the runtime that dispatches, and ends with it; the supervisors, each in its own session, go on.
A message is a job's folder, with the pipe on which its supervisor answers. Standard library only.
"""

from __future__ import annotations

import array
import gc
import json
import os
import signal
import socket
import sys
import traceback

from portcall.process import ProcessId
from portcall.runtime.process import cgroup
from portcall.runtime.process.plan import plan
from portcall.runtime.process.supervisor import Options, supervise

MESSAGE_BYTES = 8192


def main() -> None:
    """`argv[2]`: the settings as JSON; file descriptor 0 is the socket to the runtime."""
    settings = json.loads(sys.argv[2])
    parents = cgroup.detect() if settings["cgroups"] == "auto" else {}
    options = Options(settings, parents, umask=os.umask(0o077))
    runtime = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _warm()
    gc.disable()
    gc.freeze()
    while True:
        folder, reply = _receive(runtime)
        if folder is None:
            os._exit(0)
        if reply >= 0:
            _fork(folder, options, reply)
            os.close(reply)


def _warm() -> None:
    """Do once what every supervisor does first: what that allocates is then shared by all of them."""
    str(ProcessId.current())
    json.loads(json.dumps({"a": [1.5, None, True]}, separators=(",", ":")).encode())
    plan({"command": ["true"], "execution_id": "", "step": "", "call_id": ""}, "/")


def _receive(runtime: socket.socket) -> tuple[str | None, int]:
    size = array.array("i").itemsize
    try:
        data, ancillary, _, _ = runtime.recvmsg(MESSAGE_BYTES, socket.CMSG_SPACE(size), socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None, -1
    if not data:
        return None, -1
    fds = array.array("i")
    for _, _, body in ancillary:
        fds.frombytes(body[:size])
    return os.fsdecode(data), fds[0] if fds else -1


def _fork(folder: str, options: Options, reply: int) -> None:
    """Nobody waits for a supervisor: the kernel reaps it here, and init does when this process has ended."""
    try:
        if os.fork() == 0:
            _live(folder, options, reply)
    except OSError as error:
        os.write(reply, f"error {error.errno}".encode())


def _live(folder: str, options: Options, reply: int) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(1, 0)  # standard output is /dev/null: the socket must not outlive the server in here
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        supervise(folder, options, reply)
    except Exception:  # noqa: BLE001 - the last resort: leave word in the folder; the job becomes `lost`
        with open("supervisor.log", "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is heavy
            traceback.print_exc(file=file)
    finally:
        os._exit(0)
