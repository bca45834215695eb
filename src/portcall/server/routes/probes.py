"""What machines ask about the server itself."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from portcall.errors import UnavailableError
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


async def _metrics(_server: Server, _request: Request, _query: Any) -> Response:
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)


ENDPOINTS = (
    Endpoint("GET", "/healthz", "Whether the process is up.", _healthz, Health, open=True),
    Endpoint("GET", "/readyz", "Whether its store answers.", _readyz, Health, open=True),
    Endpoint("GET", "/metrics", "Metrics in the Prometheus text format.", _metrics, str),
)
