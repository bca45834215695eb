"""The pipes by which observers are woken."""

from __future__ import annotations

import os
from pathlib import Path

from portcall.runtime.process import bell


def test_every_observer_hears(tmp_path: Path) -> None:
    fds = [bell.hang(str(tmp_path), name) for name in ("one", "two")]
    bell.ring(str(tmp_path), "job-a")
    bell.ring(str(tmp_path), "job-b")
    assert [os.read(fd, 100) for fd in fds] == [b"job-a\njob-b\n"] * 2
    for fd, name in zip(fds, ("one", "two"), strict=True):
        bell.take_down(str(tmp_path), name, fd)
    assert list(tmp_path.iterdir()) == []


def test_the_pipe_of_a_dead_observer_goes(tmp_path: Path) -> None:
    os.close(bell.hang(str(tmp_path), "dead"))
    bell.ring(str(tmp_path), "job")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_that_is_just_being_made_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".new")
    bell.ring(str(tmp_path), "job")
    assert (tmp_path / ".new").exists()


def test_no_observers_and_no_folder(tmp_path: Path) -> None:
    bell.ring(str(tmp_path), "job")
    bell.ring(str(tmp_path / "absent"), "job")
