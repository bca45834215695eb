"""An event loop on which waiting takes no time: when nothing is ready, its clock jumps to the next timer.

For code that has no other input than its own tasks and timers. Waiting for sockets, threads or
processes is a mistake here and is reported as one, as is waiting for what can never happen.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class _Selector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError(
                    "Nothing that is awaited can ever happen: no task is ready, no timer is set."
                )
            self.now += max(0.0, timeout)
        return ready


class FastLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class LoopClock:
    """`Clock` and seconds of the running loop; `offset` shifts it, as a clock that is wrong."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds())

    def seconds(self) -> float:
        return asyncio.get_running_loop().time() + self.offset


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on a loop that never waits."""
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(main)
