"""What machines ask about the server itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from portcall.errors import PortcallError, UnavailableError
from portcall.observe import metrics
from portcall.server.endpoint import Endpoint, Server

READY_SECONDS = 5.0
_log = logging.getLogger("portcall.server")


class Health(msgspec.Struct):
    status: str = "ok"


async def _healthz(_server: Server, _request: Request, _query: Any) -> Health:
    return Health()


async def _readyz(server: Server, _request: Request, _query: Any) -> Health:
    try:
        async with asyncio.timeout(READY_SECONDS):
            ready = await server.ready()
    except Exception as error:
        _log.warning("The store does not answer: %s", error or type(error).__name__)
        raise UnavailableError("The server's store does not answer.") from error
    if not ready:
        raise UnavailableError("The server's store does not answer.")
    return Health()


async def _metrics(server: Server, _request: Request, _query: Any) -> Response:
    if server.measure is not None:
        await _measure(server.measure)
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)


async def _measure(measure: Callable[[], Awaitable[None]]) -> None:
    """A store that is away is itself to be seen in the metrics."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await measure()
    except (PortcallError, TimeoutError) as error:
        _log.warning("The store could not be read for the metrics: %s", error or type(error).__name__)
        metrics.gauge("store_up", 0)


ENDPOINTS = (
    Endpoint("GET", "/healthz", "Whether the process is up.", _healthz, Health, open=True),
    Endpoint("GET", "/readyz", "Whether its store answers.", _readyz, Health, open=True),
    Endpoint("GET", "/metrics", "Metrics in the Prometheus text format.", _metrics, str),
)
