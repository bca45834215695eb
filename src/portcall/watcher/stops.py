"""The server's requests to stop calls, by a long poll: well under a second from the request to the Job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from portcall.backoff import Backoff
from portcall.client.port import Client
from portcall.model.api import StopRequest
from portcall.observe import metrics
from portcall.runtime.port import Runtime
from portcall.watcher.deliver import said

POLL_SECONDS = 20.0
AT_ONCE = 32

log = logging.getLogger("portcall.watcher")


class Stops:
    """What cannot be stopped now is stopped by the next comparison."""

    def __init__(self, client: Client, runtime: Runtime, *, now: Callable[[], float]) -> None:
        self._client = client
        self._runtime = runtime
        self._now = now
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Ask without end."""
        cursor, backoff = 0, Backoff()
        while True:
            sent = self._now()
            try:
                stops = await self._client.stops(self._runtime.name, cursor, POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever fails, it is asked again
                level = logging.WARNING if backoff.fresh else logging.DEBUG
                log.log(level, "Asking for calls to stop failed and is tried again: %s", said(error))
                await asyncio.sleep(backoff.next())
                continue
            if stops.requests or self._now() - sent >= 1.0:
                backoff.reset()
            else:  # an answer at once without requests: the server does not wait, so this side does
                await asyncio.sleep(backoff.next())
            await asyncio.gather(*(self._stop(request) for request in stops.requests))
            cursor = stops.cursor

    async def _stop(self, request: StopRequest) -> None:
        metrics.count("watcher_stop_requests", reason=request.reason)
        where = {"execution_id": request.execution_id, "step": request.step, "call_id": request.call_id}
        async with self._gate:
            try:
                await self._runtime.stop(request.handle, request.reason)
            except Exception as error:  # noqa: BLE001 - whatever fails, it is asked again
                log.warning("Stopping %s failed: %s", request.handle.name, said(error), extra=where)
