from __future__ import annotations

import asyncio
import importlib.util
import signal
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from portcall.errors import ToolError
from portcall.tool.shell import ShellConfig


def error_of(bench: Any, config: dict[str, Any]) -> ToolError:
    with pytest.raises(ToolError) as caught:
        bench.run("shell", config)
    return caught.value


@pytest.mark.parametrize(
    ("config", "stdout"),
    [
        ({"command": "echo one; echo $((1 + 1))"}, "one\n2\n"),
        ({"command": ["echo", "$HOME", 3]}, "$HOME 3\n"),
        ({"cmds": ["x=1 # comment", "echo $x"]}, "1\n"),
        ({"command": "echo ${BASH_VERSION:+bash}", "shell": "bash"}, "bash\n"),
        ({"command": "echo $A $B", "env": {"A": 1, "B": True}}, "1 true\n"),
        ({"command": "echo $A", "env": [{"name": "A", "value": "b"}]}, "b\n"),
    ],
)
def test_commands(bench: Any, config: dict[str, Any], stdout: str) -> None:
    assert bench.run("shell", config) == {"exit_code": 0, "stdout": stdout, "stderr": ""}


def test_it_runs_in_cwd_which_is_relative_to_the_worker(bench: Any) -> None:
    (bench.workdir / "sub").mkdir()
    assert bench.run("shell", {"command": "pwd", "cwd": "sub"})["stdout"].strip() == str(bench.workdir / "sub")
    assert "does not exist" in error_of(bench, {"command": "pwd", "cwd": "nowhere"}).message


def test_a_code_other_than_0_is_a_failure_that_keeps_its_data(bench: Any) -> None:
    error = error_of(bench, {"command": "echo out; echo why >&2; exit 3"})
    assert error.message == "The command ended with exit code 3: why"
    assert (error.kind, error.code) == ("exit_code", 3)
    assert error.data == {"exit_code": 3, "stdout": "out\n", "stderr": "why\n"}
    assert sorted(bench.log) == ["out\n", "why\n"]


def test_a_list_of_commands_stops_at_the_first_failure(bench: Any) -> None:
    assert error_of(bench, {"cmds": ["echo a", "false", "echo b"]}).data["stdout"] == "a\n"


def test_a_signal_is_told_by_its_name(bench: Any) -> None:
    error = error_of(bench, {"command": "kill -TERM $$"})
    assert "SIGTERM" in error.message
    assert error.data["exit_code"] == 128 + signal.SIGTERM


def test_a_missing_program(bench: Any) -> None:
    error = error_of(bench, {"command": ["no-such-program"]})
    assert error.kind == "config"
    assert "There is no program no-such-program" in error.message


def test_output_is_bounded_and_says_so(bench: Any) -> None:
    data = bench.run("shell", {"command": "yes | head -c 300000; echo end; echo err >&2"})
    assert len(data["stdout"]) == 256 * 1024
    assert data["stdout"].endswith("end\n")
    assert data["stdout_truncated"] is True
    assert "stderr_truncated" not in data


def test_background_children_do_not_hold_the_call_and_are_killed(bench: Any, gone: Any) -> None:
    data = bench.run("shell", {"command": "sleep 600 & echo $!"})
    gone(int(data["stdout"]))


def test_a_timeout_kills_all_and_keeps_the_output(bench: Any, gone: Any) -> None:
    error = error_of(bench, {"command": "sleep 600 & echo $!; sleep 600", "timeout_seconds": 0.5})
    assert (error.kind, error.retryable) == ("timeout", True)
    gone(int(error.data["stdout"]))


def test_the_server_s_environment_stays_with_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTCALL_TOKEN", "hunter2")
    assert "hunter2" not in bench.run("shell", {"command": "env"})["stdout"]


@pytest.mark.parametrize(
    "config", [{}, {"command": "a", "cmds": ["b"]}, {"command": []}, {"cmds": []}, {"cmd": "a"}]
)
def test_wrong_fields_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ShellConfig.model_validate(config)


@pytest.mark.parametrize(
    "loop",
    [
        asyncio.new_event_loop,
        pytest.param(
            "uvloop",
            marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="uvloop is optional"),
        ),
    ],
)
def test_many_at_once_on_each_kind_of_loop(bench: Any, loop: Any) -> None:
    if loop == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop

    async def many() -> list[Any]:
        return await asyncio.gather(*(bench.start("shell", {"command": f"echo {n}"}) for n in range(20)))

    with asyncio.Runner(loop_factory=loop) as runner:
        results = runner.run(many())
    assert [result.data["stdout"] for result in results] == [f"{n}\n" for n in range(20)]


WORKER = """
import asyncio, sys
from portcall.tool import process

async def main():
    program = process.Program(["sh", "-c", "sleep 600 & echo $!; sleep 600"], "/", process.clean_environment())
    await process.run(program, None, lambda chunk: print(chunk.decode(), end="", flush=True))

asyncio.run(main())
"""


def test_the_kernel_kills_the_command_when_the_worker_is_killed(gone: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        pid = int(worker.stdout.readline())
        worker.kill()
    gone(pid)
