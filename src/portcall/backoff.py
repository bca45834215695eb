"""How long to wait before trying again: doubling to a top, with jitter, without end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress


class Backoff:
    """Seconds from `first`, doubling up to `top`. Each is drawn from the upper half of its range, so that
    many callers who lost the same server do not come back at once.
    """

    def __init__(
        self, first: float = 0.2, top: float = 10.0, *, random: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._top = top
        self._random = random
        self._next = first

    def next(self) -> float:
        delay = self._next
        self._next = min(self._next * 2, self._top)
        return delay * (0.5 + self._random() / 2)

    @property
    def fresh(self) -> bool:
        """Whether nothing has failed since the last success."""
        return self._next == self._first

    def reset(self) -> None:
        self._next = self._first


async def pause(seconds: float, until: asyncio.Event) -> bool:
    """Wait, but no longer than until the event is set; whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until.wait()
    return until.is_set()
