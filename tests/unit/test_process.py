"""A process is told from a later one with the same pid."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.process import ProcessId


def test_the_present_process() -> None:
    me = ProcessId.current()
    assert me.pid == os.getpid()
    assert me.alive()
    assert ProcessId.of(os.getpid()) == me


@given(st.uuids(), st.integers(1, 2**22), st.integers(0, 2**63))
def test_text_and_back(boot: object, pid: int, started: int) -> None:
    one = ProcessId(str(boot), pid, started)
    assert ProcessId.parse(str(one)) == one
    assert hash(ProcessId.parse(str(one))) == hash(one)


@pytest.mark.parametrize("text", ["", "1", "boot:1", ":1:2", "boot:one:2", "a:b:c:d"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ProcessId.parse(text)


def test_another_process_with_the_pid_is_another() -> None:
    me = ProcessId.current()
    for other in (ProcessId(me.boot, me.pid, me.started + 1), ProcessId("another-boot", me.pid, me.started)):
        assert other != me
        assert not other.alive()
        assert other.open() is None
        assert not other.signal(signal.SIGKILL)


def test_a_zombie_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        child = ProcessId.of(process.pid)
        assert child is not None
        assert child.signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not child.alive()
        assert ProcessId.of(process.pid) is None
