"""A second server on the same file is refused; one that died is not in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from portcall.errors import ConflictError
from portcall.store.lock import sole_server

HOLDER = """
import sys
from pathlib import Path
from portcall.store.lock import sole_server
with sole_server(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_server_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    db = tmp_path / "new" / "x.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match="another portcall server"), sole_server(db):
            pass
        holder.kill()
    with sole_server(db):
        pass
