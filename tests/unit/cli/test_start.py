"""What a process of the command line loads, and how it ends: real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from portcall.cli.commands import COMMANDS, LazyGroup
from portcall.cli.main import cli

SLOW = (
    "rich",
    "asyncio",
    "msgspec",
    "pydantic",
    "yaml",
    "httpx2",
    "starlette",
    "uvicorn",
    "sqlite3",
    "minijinja",
)
LOADED = """
import sys
from portcall.cli.main import run
code = run(sys.argv[2:])
sys.exit(", ".join(name for name in sys.argv[1].split(",") if name in sys.modules) or code)
"""


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_loads_nothing_slow(args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, ",".join(SLOW), *args], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("Usage", "portcall"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_listed_help_is_there_for_each_command(name: str) -> None:
    assert isinstance(cli, LazyGroup)
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", ["run", "resume", "ps", "show", "logs", "validate"])
def test_a_command_that_runs_here_never_loads_the_other_sides(name: str) -> None:
    slow = "rich,httpx2,starlette,uvicorn,prometheus_client"
    done = subprocess.run(
        [sys.executable, "-c", LOADED, slow, name, "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_ends_it_without_a_word() -> None:
    line = [sys.executable, "-m", "portcall.cli", "schema", "event"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141
