"""What holds when a process dies where it hurts: one test for each line of the table in the protocol."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from portcall.errors import RejectedError
from portcall.process import ProcessId
from portcall.runtime.port import JobSpec, Runtime
from portcall.runtime.process import observer

DISPATCHER = """
import asyncio, sys
from pathlib import Path
import msgspec
from portcall.runtime.port import JobSpec
from portcall.runtime.process import ProcessRuntime

async def main():
    runtime = ProcessRuntime(Path(sys.argv[1]), cgroups=sys.argv[2], grace=0.3)
    handle = await runtime.dispatch(msgspec.json.decode(sys.argv[3], type=JobSpec))
    print(handle.uid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def record_of(harness: Any, spec: JobSpec, name: str = "start.json") -> dict[str, Any]:
    return dict(json.loads((harness.root / spec.name / name).read_bytes()))


def change(harness: Any, spec: JobSpec, name: str, **fields: Any) -> None:
    path = harness.root / spec.name / name
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))


def kill(text: str) -> None:
    """Kill a process that is not our child, and wait until it is gone."""
    fd = ProcessId.parse(text).open()
    assert fd is not None
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    select.select([fd], [], [])
    os.close(fd)


def test_the_dispatcher_is_killed(harness: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    spec = harness.shell(f"read word < {gate}; echo $word; exit 5")
    command = [sys.executable, "-c", DISPATCHER, str(harness.root), harness.cgroups, msgspec.json.encode(spec)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as dispatcher:
        assert dispatcher.stdout is not None
        uid = dispatcher.stdout.readline().decode().strip()
        dispatcher.kill()

    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(spec)
        assert handle.uid == uid
        await asyncio.to_thread(gate.write_text, "alive\n")
        end = await harness.ended(runtime, handle)
        assert (end.state, end.exit_code, end.log_tail) == ("failed", 5, "alive\n")

    harness.run(test)


def test_the_fork_server_is_killed(harness: Any) -> None:
    async def test(runtime: Any) -> None:
        running = await runtime.dispatch(harness.shell("echo up; exec sleep 60"))
        server = runtime._server._process
        server.kill()
        server.wait()
        after = await runtime.dispatch(harness.spec("true"))
        assert (await harness.ended(runtime, after)).state == "succeeded"
        assert [one.phase for one in await runtime.list() if one.handle == running] == ["started"]

    harness.run(test)


def test_the_supervisor_is_killed(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.shell("sleep 60 & echo $!; setsid sleep 60 & echo $! both; wait", memory_limit=64 << 20)
        handle = await runtime.dispatch(spec)
        said = await harness.printed(runtime, handle, b"both\n")
        start = record_of(harness, spec)
        pids = [ProcessId.parse(start["container"]).pid, *map(int, said.split()[:2])]
        fds = [os.pidfd_open(pid) for pid in pids]
        watching = asyncio.create_task(harness.ended(runtime, handle))
        assert ProcessId.parse(start["supervisor"]).signal(signal.SIGKILL)
        end = await watching
        for fd in fds:
            await asyncio.to_thread(select.select, [fd], [], [])
            os.close(fd)
        assert (end.state, end.failure_class, end.started) == ("lost", "infrastructure", True)
        assert (end.evidence.level, end.exit_code) == ("partial", None)
        again = await runtime.dispatch(spec)
        assert again == handle
        assert (await harness.ended(runtime, handle)).timings.finished is None
        assert record_of(harness, spec) == start
        assert not any(os.path.exists(folder) for folder in start["cgroups"])  # noqa: ASYNC240, PTH110 - no wait

    harness.run(test)


def test_a_container_that_outlives_its_supervisor_is_killed(harness: Any) -> None:
    """A program that asked not to be told of its parent's death, as set-user-ID programs are not."""
    script = (
        "import ctypes, time; ctypes.CDLL(None).prctl(1, 0, 0, 0, 0); print('deaf', flush=True); time.sleep(60)"
    )

    async def test(runtime: Runtime) -> None:
        spec = harness.spec("python", "-c", script)
        handle = await runtime.dispatch(spec)
        await harness.printed(runtime, handle, b"deaf")
        container = ProcessId.parse(record_of(harness, spec)["container"])
        fd = container.open()
        assert fd is not None
        assert ProcessId.parse(record_of(harness, spec)["supervisor"]).signal(signal.SIGKILL)
        assert (await harness.ended(runtime, handle)).state == "lost"
        select.select([fd], [], [])
        os.close(fd)

    harness.run(test)


def test_somebody_else_ends_the_supervisor(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.shell("echo up; exec sleep 60")
        handle = await runtime.dispatch(spec)
        await harness.printed(runtime, handle, b"up")
        assert ProcessId.parse(record_of(harness, spec)["supervisor"]).signal(signal.SIGTERM)
        assert (await harness.ended(runtime, handle)).state == "failed_deleted"

    harness.run(test)


def test_the_machine_reboots_while_it_runs(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.shell("echo up; exec sleep 60")
        handle = await runtime.dispatch(spec)
        await harness.printed(runtime, handle, b"up")
        start = record_of(harness, spec)
        kill(start["supervisor"])
        pid = ProcessId.parse(start["container"])
        change(harness, spec, "start.json", container=f"old-boot:{os.getpid()}:{pid.started}")
        change(harness, spec, "spec.json", uid="old-boot/1")
        end = await harness.make().get(spec.name)
        assert end is not None
        assert end.outcome is not None
        assert (end.outcome.state, end.outcome.started, end.outcome.reason) == ("lost", True, "Rebooted")

    harness.run(test)


def test_the_machine_reboots_after_the_end(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.spec("true")
        await harness.ended(runtime, await runtime.dispatch(spec))
        change(harness, spec, "spec.json", uid="old-boot/1")
        found = await harness.make().get(spec.name)
        assert found is not None
        assert found.outcome is not None
        assert found.outcome.state == "succeeded"

    harness.run(test)


def test_a_killed_supervisor_is_noticed_without_a_descriptor_to_watch_it(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "SHARE_OF_DESCRIPTORS", sys.maxsize)
    monkeypatch.setattr(observer, "LOOK_SECONDS", 0.02)

    async def test(runtime: Runtime) -> None:
        spec = harness.spec("sleep", "60")
        handle = await runtime.dispatch(spec)
        watching = asyncio.create_task(harness.ended(runtime, handle))
        await harness.reached(runtime, handle, "started")
        kill(record_of(harness, spec)["supervisor"])
        assert (await watching).state == "lost"

    harness.run(test)


# -- between making the folder and starting ----------------------------------------------


def _made(harness: Any, spec: JobSpec, start: dict[str, Any] | None = None) -> None:
    """A folder as a dispatcher leaves it that dies right after making it."""
    runtime: Any = harness.make()
    runtime._folders.prepare()
    assert runtime._folders.make(spec, runtime._cluster()) is not None
    if start is not None:
        (harness.root / spec.name / "start.json").write_text(json.dumps({"at": 1.0, **start}))


def _dead() -> str:
    with subprocess.Popen(["sleep", "60"]) as process:
        found = ProcessId.of(process.pid)
        process.kill()
    return str(found)


def test_a_folder_without_a_supervisor_is_started_by_the_next_dispatch(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.spec("echo", "ran")
        _made(harness, spec)
        (seen,) = await runtime.list()
        assert (seen.phase, seen.outcome) == ("created", None)
        end = await harness.ended(runtime, await runtime.dispatch(spec))
        assert (end.state, end.log_tail) == ("succeeded", "ran\n")

    harness.run(test)


def test_a_supervisor_that_died_before_its_container_is_replaced(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.spec("echo", "ran")
        _made(harness, spec, {"supervisor": _dead()})
        end = await harness.ended(runtime, await runtime.dispatch(spec))
        assert (end.state, end.log_tail) == ("succeeded", "ran\n")

    harness.run(test)


def test_a_container_that_may_have_run_is_never_started_again(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.spec("echo", "ran")
        _made(harness, spec, {"supervisor": _dead(), "container": _dead(), "started": 2.0})
        end = await harness.ended(runtime, await runtime.dispatch(spec))
        assert (end.state, end.started, end.log_tail) == ("lost", True, None)

    harness.run(test)


def test_a_stopped_job_that_nobody_started_ends(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.spec("echo", "ran")
        _made(harness, spec)
        (seen,) = await runtime.list()
        await runtime.stop(seen.handle, "cancel")
        end = await harness.ended(runtime, await runtime.dispatch(spec))
        assert (end.state, end.started, end.log_tail) == ("cancelled", False, None)

    harness.run(test)


def test_a_stop_before_the_start_is_seen_by_the_supervisor(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.spec("echo", "ran")
        _made(harness, spec)
        (harness.root / spec.name / "stop").write_text("deadline")
        end = await harness.ended(runtime, await runtime.dispatch(spec))
        assert (end.state, end.started, end.log_tail) == ("failed_timeout", False, None)

    harness.run(test)


def test_supervisors_of_one_folder_start_one_container(harness: Any) -> None:
    async def test(runtime: Any) -> None:
        spec = harness.shell("echo ran; exec sleep 60")
        _made(harness, spec)
        path = harness.root / spec.name
        answers = await asyncio.gather(*(runtime._server.supervise(path) for _ in range(5)))
        assert sorted(answers) == ["", "", "", "", "ok"]
        handle = await runtime.dispatch(spec)
        await harness.printed(runtime, handle, b"ran\n")
        await runtime.stop(handle, "cancel")
        await harness.ended(runtime, handle)
        assert await runtime._server.supervise(path) == ""
        assert (await harness.ended(runtime, handle)).log_tail == "ran\n"

    harness.run(test)


def test_half_made_folders_are_no_jobs(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        await runtime.identity()
        (harness.root / ".new" / "half").mkdir()
        (harness.root / "empty").mkdir()
        assert await runtime.list() == []
        assert await runtime.get("empty") is None
        with pytest.raises(RejectedError, match="empty"):
            await runtime.dispatch(harness.spec("true", name="empty"))

    harness.run(test)
