from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

STUBBORN = """
import asyncio, sys
from portcall.cli import session

async def work():
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("closing", flush=True)
        if sys.argv[1] == "stubborn":
            await asyncio.Event().wait()

try:
    session.run(work())
except session.Interrupted:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def start(kind: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_work_close(number: signal.Signals) -> None:
    with start("polite") as process:
        os.kill(process.pid, number)
        out, _ = process.communicate(timeout=30)
    assert out == "closing\ninterrupted\n"
    assert process.returncode == 130


def test_a_second_signal_ends_the_process_at_once() -> None:
    with start("stubborn") as process:
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "closing\n"
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert out == ""
    assert process.returncode == 130
