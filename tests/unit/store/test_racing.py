"""Several processes make one new database at the same moment: each of them can use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROCESSES = 4
ROUNDS = 10
OPENER = """
import sys
from pathlib import Path
from portcall.store.sqlite import SqliteStore
print("ready", flush=True)
for path in sys.stdin:
    SqliteStore(Path(path.strip()), threaded=False).open()
    print("open", flush=True)
"""


def test_every_process_can_open_a_database_that_all_make_at_once(tmp_path: Path) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OPENER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        assert [_line(each) for each in openers] == ["ready"] * PROCESSES
        for number in range(ROUNDS):
            for each in openers:
                assert each.stdin is not None
                each.stdin.write(f"{tmp_path / f'{number}.db'}\n")
                each.stdin.flush()
            assert [_line(each) for each in openers] == ["open"] * PROCESSES
    finally:
        for each in openers:
            each.kill()
            each.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
