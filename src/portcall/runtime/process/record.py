"""The files of a job's folder that say what happened: each appears whole or not at all.

Standard library only: the supervisors use it.
"""

# ruff: noqa: PTH104, PTH120, PTH123 - pathlib would cost every supervisor memory

from __future__ import annotations

import json
import os

SPEC = "spec.json"
START = "start.json"
EXIT = "exit.json"
STOP = "stop"
LOCK = "lock"
RESULT = "result"
FILES = "files"
OUTPUT = "output.log"
ROTATED = "output.log.1"
ACKNOWLEDGED = "acknowledged"
BELLS = ".watchers"

TYPE_CHECKING = False  # of `typing`, which is not needed to run
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]
else:
    Record = dict


def write(path: str, data: bytes, *, sync: bool = False) -> None:
    """Put a file in place by rename; with `sync`, so that it survives a power cut."""
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if sync:
        _sync_folder(os.path.dirname(path) or ".")


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path: str, record: Record, *, sync: bool = False) -> None:
    write(path, json.dumps(record, separators=(",", ":")).encode(), sync=sync)


def read(path: str, limit: int = -1) -> bytes | None:
    """A file's bytes, at most `limit`; None when it is not there."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(limit)
    except FileNotFoundError:
        return None


def read_json(path: str) -> Record | None:
    body = read(path)
    return None if body is None else dict(json.loads(body))
