"""Find the events of a body that is nested too deeply to be decoded as a whole.

The decoder descends by recursion and gives up on the whole body; one such event must not block its
batch, so its neighbours are cut out here, without recursion. The pieces may still be malformed.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")


def events_of(body: bytes) -> list[bytes]:
    """The text of each element of the top level's `events`."""
    depth, start, key = 0, -1, b""
    found = []
    for token in _TOKEN.finditer(body):
        mark = token[0]
        if start < 0 and depth == 1 and mark == b"[" and key == b'"events"':
            start = token.end()
        elif start >= 0 and depth == 2 and mark in (b",", b"]"):  # noqa: PLR2004 - inside `{"events": [`
            found.append(body[start : token.start()].strip())
            start = token.end()
            if mark == b"]":
                return [event for event in found if event]
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
        elif depth == 1:
            key = mark if mark != b"," else b""
    return []
