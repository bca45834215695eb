"""How a container ends, and what the outcome says of it: the same for every runtime."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from portcall.runtime.port import JobSpec, Runtime, StagedFile

HOG = "data = bytearray({mib} << 20); data[::4096] = bytes(len(data[::4096])); {then}"
MIB = 1 << 20


def test_success(harness: Any) -> None:
    end = harness.outcome(harness.shell("echo one; echo two >&2"))
    assert (end.state, end.failure_class, end.started) == ("succeeded", "ok", True)
    assert (end.exit_code, end.signal, end.result, end.warnings) == (0, None, None, [])
    assert end.evidence.level == "full"
    assert sorted((end.log_tail or "").split()) == ["one", "two"]
    times = [end.timings.created, end.timings.started, end.timings.finished, end.timings.observed]
    assert None not in times
    assert times == sorted(times, key=str)


def test_exit_code(harness: Any) -> None:
    end = harness.outcome(harness.shell("echo no such model; exit 3", attempt=2))
    assert (end.state, end.failure_class, end.exit_code, end.signal) == ("failed", "user", 3, None)
    assert end.attempt == 2
    assert "exit code 3" in end.message


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("SEGV", 139), ("KILL", 137)])
def test_signal(harness: Any, name: str, code: int) -> None:
    end = harness.outcome(harness.shell(f"kill -{name} $$"))
    assert (end.state, end.exit_code, end.signal) == ("failed", code, f"SIG{name}")
    assert end.evidence.level == "full"


def test_exit_code_137_is_not_memory(harness: Any) -> None:
    end = harness.outcome(harness.shell("exit 137", memory_limit=64 * MIB))
    assert (end.state, end.exit_code, end.signal) == ("failed", 137, None)


def test_memory_limit(harness: Any) -> None:
    hold = HOG.format(mib=200, then="import time; time.sleep(60)")
    end = harness.outcome(harness.spec("python", "-c", hold, memory_limit=64 * MIB))
    assert (end.state, end.exit_code, end.signal, end.reason) == ("failed_oom", 137, "SIGKILL", "OOMKilled")
    assert end.message == (
        "The container was killed for using more than its 64Mi memory limit; raise resources.limits.memory."
    )
    assert end.evidence.level == ("full" if "cgroup" in end.evidence.read else "partial")


def test_memory_below_the_limit(harness: Any) -> None:
    end = harness.outcome(harness.spec("python", "-c", HOG.format(mib=8, then="pass"), memory_limit=64 * MIB))
    assert end.state == "succeeded"


def test_a_child_killed_for_memory_is_a_warning_when_the_container_ends_well(harness: Any) -> None:
    child = HOG.format(mib=200, then="import time; time.sleep(60)")
    end = harness.outcome(harness.shell(f"python -c '{child}'; exit 0", memory_limit=64 * MIB))
    if "cgroup" in end.evidence.read:
        assert end.state == "succeeded"
        assert any("memory" in warning for warning in end.warnings)
    else:  # a sampled limit is on the whole tree
        assert (end.state, end.evidence.level) == ("failed_oom", "partial")


def test_cpu_limit_is_enforced_or_said_not_to_be(harness: Any) -> None:
    end = harness.outcome(harness.spec("true", cpu_limit=0.5))
    assert end.state == "succeeded"
    assert bool(end.warnings) == (harness.cgroups == "off") or "CPU" in end.warnings[0]


@pytest.mark.parametrize("command", ["no-such-command-of-anyone", "/no/such/file", "/etc/passwd"])
def test_command_not_found(harness: Any, command: str) -> None:
    end = harness.outcome(harness.spec(command))
    assert (end.state, end.failure_class, end.started, end.exit_code) == ("failed_config", "user", False, None)
    assert command in end.message
    assert end.timings.started is None


def test_no_command(harness: Any) -> None:
    end = harness.outcome(harness.spec(image="registry.example/trainer:v1"))
    assert (end.state, end.started) == ("failed_config", False)
    assert "no image" in end.message
    assert "`command`" in end.message


def test_words_that_no_process_can_be_given(harness: Any) -> None:
    assert harness.outcome(harness.spec("true", env={"A": "nul\0byte"})).state == "failed_config"


def test_missing_workdir(harness: Any, tmp_path: Path) -> None:
    end = harness.outcome(harness.spec("true", workdir=str(tmp_path / "absent")))
    assert (end.state, end.started) == ("failed_config", False)
    assert "absent" in end.message


def test_timeout(harness: Any) -> None:
    end = harness.outcome(harness.spec("sleep", "60", timeout_seconds=0.05))
    assert (end.state, end.failure_class, end.reason) == ("failed_timeout", "user", "DeadlineExceeded")
    assert "0.05 s" in end.message


def test_timeout_of_a_container_that_ignores_it(harness: Any) -> None:
    end = harness.outcome(
        harness.shell("trap '' TERM; sleep 60 & wait; sleep 60; sleep 60", timeout_seconds=0.05)
    )
    assert (end.state, end.signal) == ("failed_timeout", "SIGKILL")


@pytest.mark.parametrize(("reason", "state"), [("cancel", "cancelled"), ("deadline", "failed_timeout")])
def test_stop(harness: Any, reason: Any, state: str) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("echo up; exec sleep 60"))
        await harness.printed(runtime, handle, b"up")
        await runtime.stop(handle, reason)
        await runtime.stop(handle, reason)
        end = await harness.ended(runtime, handle)
        assert (end.state, end.signal, end.started) == (state, "SIGTERM", True)

    harness.run(test)


def test_stop_of_a_container_that_ignores_it(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("trap '' TERM; echo up; while :; do sleep 60; done"))
        await harness.printed(runtime, handle, b"up")
        await runtime.stop(handle, "cancel")
        end = await harness.ended(runtime, handle)
        assert (end.state, end.signal) == ("cancelled", "SIGKILL")

    harness.run(test)


def test_stop_after_the_end_changes_nothing(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.spec("true"))
        await harness.ended(runtime, handle)
        await runtime.stop(handle, "cancel")
        assert (await harness.ended(runtime, handle)).state == "succeeded"

    harness.run(test)


# -- results ---------------------------------------------------------------------------------------------


def test_result_message(harness: Any) -> None:
    end = harness.outcome(harness.shell("""printf '{"accuracy": 0.93, "tags": ["a"]}' > "$PORTCALL_RESULT" """))
    assert (end.state, end.result) == ("succeeded", {"accuracy": 0.93, "tags": ["a"]})


def test_result_stdout(harness: Any) -> None:
    end = harness.outcome(harness.shell("echo training; echo '{\"n\": 3}'; echo", result="stdout"))
    assert (end.state, end.result) == ("succeeded", {"n": 3})


def test_result_none(harness: Any) -> None:
    end = harness.outcome(harness.shell("echo 1 > $PORTCALL_RESULT", result="none"))
    assert (end.state, end.result) == ("succeeded", None)


@pytest.mark.parametrize(
    ("script", "how", "reason"),
    [
        ("""printf '{"a": ' > "$PORTCALL_RESULT" """, "message", "ResultUnreadable"),
        ("head -c 5000 /dev/zero | tr '\\0' 1 > $PORTCALL_RESULT", "message", "ResultTooLarge"),
        ("echo not json", "stdout", "ResultUnreadable"),
        ("true", "stdout", "ResultMissing"),
        ("head -c 300000 /dev/zero | tr '\\0' 1", "stdout", "ResultTooLarge"),
    ],
)
def test_a_broken_result_is_no_success(harness: Any, script: str, how: Any, reason: str) -> None:
    end = harness.outcome(harness.shell(script, result=how))
    assert (end.state, end.failure_class, end.exit_code, end.reason) == ("failed_result", "user", 0, reason)
    assert end.result is None


def test_a_result_does_not_hide_a_failure(harness: Any) -> None:
    end = harness.outcome(harness.shell("echo '{}' > $PORTCALL_RESULT; exit 4"))
    assert (end.state, end.exit_code) == ("failed", 4)


# -- what a container is given -----------------------------------------------------------------------------


def test_environment(harness: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "hunter2")
    monkeypatch.setenv("HOME", "/home/somebody")
    spec = harness.spec("env", env={"RUN": "7"}, traceparent="00-1-2-03", attempt=3, workdir=str(tmp_path))
    end = harness.outcome(spec)
    seen = dict(line.split("=", 1) for line in (end.log_tail or "").splitlines())
    assert seen.items() >= {"RUN": "7", "HOME": "/home/somebody", "TRACEPARENT": "00-1-2-03"}.items()
    assert (seen["PORTCALL_EXECUTION_ID"], seen["PORTCALL_STEP"]) == ("42", "train")
    assert (seen["PORTCALL_ATTEMPT"], seen["PORTCALL_CALL_ID"]) == ("3", spec.call_id)
    assert "WAREHOUSE_PASSWORD" not in seen


def test_python_is_found(harness: Any) -> None:
    assert harness.outcome(harness.spec("python3", "-c", "print(1)")).log_tail == "1\n"


def test_workdir_is_that_of_the_caller(harness: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert harness.outcome(harness.spec("pwd")).log_tail == f"{tmp_path}/here\n"


def test_no_input(harness: Any) -> None:
    assert harness.outcome(harness.spec("cat")).state == "succeeded"


def test_files(harness: Any) -> None:
    files = [
        StagedFile(path="/job/run.sh", content="#!/bin/sh\ncat $CONFIG\n", mode="0755"),
        StagedFile(path="../../config", content="learning: fast\n"),
    ]
    end = harness.outcome(harness.spec("/job/run.sh", env={"CONFIG": "../../config"}, files=files))
    assert (end.state, end.log_tail) == ("succeeded", "learning: fast\n")


def test_what_the_container_leaves_running_is_ended(harness: Any) -> None:
    async def test(runtime: Runtime) -> int:
        handle = await runtime.dispatch(harness.shell("setsid sleep 61 & echo pid $!; exit 0"))
        end = await harness.ended(runtime, handle)
        assert end.state == "succeeded"
        return int((end.log_tail or "").split()[1])

    pid = harness.run(test)
    assert not Path(f"/proc/{pid}").exists()


def test_no_words_of_the_environment_in_the_process_list(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("echo up; exec sleep 60", env={"TOKEN": "s3cr3t-value"}))
        await harness.printed(runtime, handle, b"up")
        lines = await asyncio.to_thread(_command_lines)
        assert not [line for line in lines if b"s3cr3t-value" in line]
        assert harness.root.stat().st_mode & 0o077 == 0

    harness.run(test)


def _command_lines() -> list[bytes]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return found


def test_spec_is_whole(harness: Any) -> None:
    spec: JobSpec = harness.spec("true", args=["a"], config={"queue": "gpu"}, image="x:1")
    end = harness.outcome(spec)
    assert end.image is not None
    assert end.image.requested == "x:1"
    assert end.job is not None
    assert (end.job.runtime, end.job.name) == (spec.name and "process", spec.name)
