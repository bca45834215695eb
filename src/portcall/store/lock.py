"""One server on one SQLite file: long polls of a second one would not be told what the first has written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portcall.errors import ConflictError, UsageError


@contextmanager
def sole_server(db: Path) -> Iterator[None]:
    """Holds `<db>.server` while it lasts; the kernel lets it go when the process dies."""
    try:
        db.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(f"{db}.server", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot open the database {db}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConflictError(
            f"another portcall server uses {db}: stop it first, or give this one another --db"
        ) from error
    finally:
        os.close(held)
