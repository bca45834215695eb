"""Long polls: bounded, ended at shutdown, and given up when the caller is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from portcall.observe import metrics

T = TypeVar("T")


class Polls:
    """All long polls of one server."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._ended = asyncio.Event()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        return self._waiting

    def end(self) -> None:
        """From now on nothing waits. For shutdown."""
        self._ended.set()

    async def run(
        self, ask: Callable[[float], Awaitable[T]], wait: float, receive: Receive, *, otherwise: T | None = None
    ) -> T:
        """`await ask(wait)`, with `wait` bounded. Ended early it answers `otherwise`, or `await ask(0)`.

        Errors: `ClientDisconnect` when the caller is gone, so that nothing is handed to nobody.
        """
        wait = min(max(wait, 0.0), self._longest)
        if wait == 0 or self._ended.is_set():
            return await ask(0.0)
        asked = asyncio.ensure_future(ask(wait))
        ended = asyncio.ensure_future(self._ended.wait())
        gone = asyncio.ensure_future(_disconnected(receive))
        self._count(1)
        try:
            await asyncio.wait({asked, ended, gone}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done() or await _stopped(asked):
                return asked.result()
        finally:
            self._count(-1)
            for task in (asked, ended, gone):
                task.cancel()
        if gone.done():
            raise ClientDisconnect
        return await ask(0.0) if otherwise is None else otherwise

    def _count(self, change: int) -> None:
        self._waiting += change
        metrics.gauge("http_polls", self._waiting)


async def _stopped(task: asyncio.Future[T]) -> bool:
    """Cancel, and wait until it has ended; true when it had a result after all."""
    task.cancel()
    await asyncio.wait({task})
    return not task.cancelled()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
