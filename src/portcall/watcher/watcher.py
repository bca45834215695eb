"""The watcher of one runtime: five loops that share nothing but the delivery's queue.

Every outcome has two paths to the server: what the runtime notifies, and the comparison. The watcher
keeps no state that matters: kill it at any moment, and the next one lists, compares and delivers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from portcall.backoff import Backoff
from portcall.client.port import Client
from portcall.clock import Clock
from portcall.observe import metrics
from portcall.runtime.port import Runtime
from portcall.watcher.comparing import Comparer
from portcall.watcher.deliver import Delivery, said
from portcall.watcher.stops import Stops

log = logging.getLogger("portcall.watcher")


class Watcher:
    """Times in seconds. `retention_seconds`: how long acknowledged Jobs are kept. `lost_confirm_seconds`:
    how far apart a Job must be missed twice. `known_executions`: when several installations share a
    runtime, which executions are this one's; Jobs of others are left alone.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the process
        self,
        client: Client,
        runtime: Runtime,
        *,
        clock: Clock,
        comparison_seconds: float = 30,
        lost_confirm_seconds: float = 30,
        retention_seconds: float = 3600,
        known_executions: Callable[[str], bool] | None = None,
        time: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._retention = retention_seconds
        self._known_executions = known_executions
        self.delivery = Delivery(client, runtime, clock)
        self.comparer = Comparer(
            client,
            runtime,
            self.delivery,
            clock,
            seconds=comparison_seconds,
            confirm_seconds=lost_confirm_seconds,
            known_executions=known_executions,
        )
        self._stops = Stops(client, runtime, now=time)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set. What is not delivered by then the runtime keeps for the next watcher."""
        loops = (self._observe, self.delivery.run, self.comparer.run, self._stops.run, self._sweep)
        tasks = [asyncio.create_task(_endless(loop)) for loop in loops]
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5.0)

    async def ready(self) -> bool:
        """Whether it has seen both sides once, and reaches them now."""
        return self.comparer.completed and not (self.comparer.failing or self.delivery.failing)

    async def _observe(self) -> None:
        """Take in what the runtime notifies. A stream that ends or fails is opened again, and lists anew."""
        backoff = Backoff()
        while True:
            why = "it ended"
            try:
                async for seen in self._runtime.observe():
                    backoff.reset()
                    if not seen.acknowledged and (
                        self._known_executions is None or self._known_executions(seen.execution_id)
                    ):
                        self.delivery.put(seen)
            except Exception as error:  # noqa: BLE001 - whatever fails, it is observed again
                why = said(error)
            level = logging.WARNING if backoff.fresh else logging.DEBUG
            log.log(level, "The observation of %s is started again: %s", self._runtime.name, why)
            metrics.count("watcher_observe_restarts")
            await asyncio.sleep(backoff.next())

    async def _sweep(self) -> None:
        """Remove acknowledged Jobs after their retention."""
        while True:
            try:
                swept = await self._runtime.sweep(self._retention)
                log.debug("Removed %d acknowledged Jobs", swept)
            except Exception as error:  # noqa: BLE001 - whatever fails, it is observed again
                log.warning("Removing acknowledged Jobs failed: %s", said(error))
            await asyncio.sleep(max(60.0, self._retention / 10))


async def _endless(loop: Callable[[], Awaitable[None]]) -> None:
    """Start a loop again that a fault of its own has ended: the others must not go on without it."""
    backoff = Backoff(first=1.0)
    while True:
        try:
            await loop()
        except Exception:
            log.exception("A loop of the watcher failed and is started again")
            metrics.count("watcher_alarms", kind="loop")
        await asyncio.sleep(backoff.next())
