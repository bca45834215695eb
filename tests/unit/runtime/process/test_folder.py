"""Folders that appear whole, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.errors import RejectedError, UnavailableError
from portcall.runtime.port import JobSpec, StagedFile
from portcall.runtime.process import folder, record
from portcall.runtime.process.plan import staged_paths


def spec(name: str = "job", **fields: Any) -> JobSpec:
    return JobSpec(name=name, execution_id="1", step="s", call_id="c", command=["true"], **fields)


def made(root: Path) -> folder.Folders:
    folders = folder.Folders(root)
    folders.prepare()
    return folders


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    folders = made(tmp_path / "root")
    assert folders.make(spec(), "process:1") is not None
    for path in (tmp_path / "root", tmp_path / "root/job", tmp_path / "root/job/spec.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_second_of_the_name_is_not_made(tmp_path: Path) -> None:
    folders = made(tmp_path)
    assert folders.make(spec(), "process:1") is not None
    assert folders.make(spec(), "process:1") is None
    folders.set_aside("job")
    assert folders.make(spec(), "process:1") is None
    assert list((tmp_path / ".new").iterdir()) == []


def test_a_bad_mode_leaves_nothing(tmp_path: Path) -> None:
    folders = made(tmp_path)
    with pytest.raises(RejectedError, match="0755"):
        folders.make(spec(files=[StagedFile(path="/a", content="", mode="rwx")]), "process:1")
    assert folders.names() == []


def test_a_full_disk_is_a_runtime_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folders = made(tmp_path)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UnavailableError, match="the disk is full; free some space"):
        folders.make(spec(), "process:1")
    assert folders.names() == []
    assert list((tmp_path / ".new").iterdir()) == []


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="file"):
        made(tmp_path / "file" / "root")


def test_a_record_appears_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "exit.json")
    record.write_json(path, {"code": 1}, sync=True)
    record.write_json(path, {"code": 2})
    assert record.read_json(path) == {"code": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["exit.json"]


@given(st.text(alphabet="ab./", min_size=1, max_size=20))
def test_files_never_leave_their_folder(path: str) -> None:
    (place,) = staged_paths([path], "/jobs/one").values()
    assert ".." not in place.split("/")
    assert (place + "/").startswith("/jobs/one/files/")
