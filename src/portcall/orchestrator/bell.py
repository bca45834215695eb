"""Telling waiters in this process that something changed, without losing a ring between look and wait."""

from __future__ import annotations

import asyncio


class Bell:
    def __init__(self) -> None:
        self.rung = 0
        self.users = 0
        """Those who look or wait, counted by themselves."""
        self._waiters: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        self.rung += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, seen: int, seconds: float) -> bool:
        """Until it has rung since `seen`, or `seconds` are over; whether it rang."""
        if self.rung != seen:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter, seconds)
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True
