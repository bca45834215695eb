"""What a container is given: its words, its environment and its files.

Standard library only: the supervisors use it.
"""

from __future__ import annotations

# ruff: noqa: PTH120 - pathlib would cost every supervisor memory
import os
import sys

from portcall.runtime.process import record
from portcall.runtime.process.record import Record

PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
"""All that a container sees of the environment portcall was started in: the rest may be secret."""


def base_environment() -> dict[str, str]:
    """What of this process's environment goes on, with the interpreter's own folder first on PATH."""
    base = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    here = os.path.dirname(sys.executable)
    path = base.get("PATH", os.defpath).split(os.pathsep)
    return base | {"PATH": os.pathsep.join([here, *(folder for folder in path if folder != here)])}


def plan(spec: Record, folder: str) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of the container, with the paths of staged files put in."""
    staged = staged_paths([file["path"] for file in spec.get("files", [])], folder)
    argv = [staged.get(word, word) for word in spec.get("command", []) + spec.get("args", [])]
    env = {name: staged.get(value, value) for name, value in spec.get("env", {}).items()}
    return argv, base_environment() | env | _told(spec, folder)


def _told(spec: Record, folder: str) -> dict[str, str]:
    told = {
        "PORTCALL_EXECUTION_ID": spec["execution_id"],
        "PORTCALL_STEP": spec["step"],
        "PORTCALL_ATTEMPT": spec.get("attempt", 1),
        "PORTCALL_CALL_ID": spec["call_id"],
        "PORTCALL_RESULT": f"{folder}/{record.RESULT}",
    }
    if spec.get("traceparent"):
        told["TRACEPARENT"] = spec["traceparent"]
    return {name: str(value) for name, value in told.items()}


def staged_paths(paths: list[str], folder: str) -> dict[str, str]:
    """Path as the playbook has it to the place where it is staged, always below the folder."""
    return {path: f"{folder}/{record.FILES}{os.path.normpath('/' + path.lstrip('/'))}" for path in paths}
