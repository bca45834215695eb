"""Identifiers, made by the caller before the write, so that a retry keeps its id."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time

EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
_CALLS = bytes.fromhex("6f0b6a1e6c0f5c0e9d0e0f6d3a3b7a51")
_NODE = int.from_bytes(os.urandom(2), "big") & 0x3FF


class _Sequence:
    """41 bits of milliseconds, 10 of node, 12 of sequence: unique in a process, ordered by time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            stamp = ((time.time_ns() // 1_000_000) - EPOCH_MS) << 12
            self._last = max(stamp, self._last + 1)
            ms, sequence = self._last >> 12, self._last & 0xFFF
            return ms << 22 | _NODE << 12 | sequence


_sequence = _Sequence()


def new_execution_id() -> str:
    """A time-ordered 64-bit integer as a decimal string: browsers lose such integers."""
    return str(_sequence.next())


def _uuid5(namespace: bytes, name: str) -> bytes:
    """RFC 9562 section 5.5, as `uuid.uuid5`, at a tenth of its cost: every call takes three."""
    digest = bytearray(hashlib.sha1(namespace + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def call_id(  # noqa: PLR0913, PLR0917 - these seven are what a call is
    execution_id: str, step: str, run: int, iteration: int | None, position: int, entry: int, attempt: int
) -> str:
    """The identity of one invocation of one tool: the same after any crash, and shared by no two."""
    it = "" if iteration is None else iteration
    return _uuid5(_CALLS, f"{execution_id}/{step}/{run}/{it}/{position}/{entry}/{attempt}").hex()


def event_id(call: str, kind: str) -> str:
    """`uuid5(call_id, kind of event)`: posting the same fact again is a no-op."""
    text = _uuid5(bytes.fromhex(call), kind).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def slug(text: str, limit: int) -> str:
    """`text` as part of an RFC 1123 label."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:limit].strip("-")


def job_name(prefix: str, step: str, call: str) -> str:
    """`<prefix>-<step slug>-<hash of call_id>`: deterministic, an RFC 1123 label of at most 63."""
    digest = hashlib.sha256(call.encode()).hexdigest()[:16]
    middle = slug(step, 63 - len(prefix) - len(digest) - 2)
    return f"{prefix}-{middle}-{digest}" if middle else f"{prefix}-{digest}"
