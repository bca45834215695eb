"""The last part of what a call wrote: bounded, whatever the call writes."""

from __future__ import annotations

from collections import deque

from portcall.observe.secrets import redact

_CUT = "... earlier output left out ...\n"


class LogTail:
    """Keeps the last `limit` bytes (of UTF-8). A piece that is added is a line, with or without its end."""

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._cut = False

    def add(self, text: str) -> None:
        line = text[-self._limit :].encode("utf-8", "replace")
        if not line.endswith(b"\n"):
            line += b"\n"
        self._cut = self._cut or len(text) > self._limit
        self._lines.append(line)
        self._size += len(line)
        while self._size - len(self._lines[0]) >= self._limit:
            self._size -= len(self._lines.popleft())
            self._cut = True

    def text(self) -> str | None:
        """What was kept, known secrets blanked; None when nothing was written."""
        if not self._lines:
            return None
        kept = b"".join(self._lines)
        if len(kept) > self._limit:
            kept = kept[-self._limit :]
            self._cut = True
        return redact((_CUT if self._cut else "") + kept.decode("utf-8", "ignore"))
