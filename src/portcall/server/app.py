"""The HTTP shell around any `Client`: `create_app` puts the routes together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from portcall.client.port import Client
from portcall.client.wire import ErrorBody, Failure
from portcall.observe.secrets import add_secret
from portcall.server import openapi
from portcall.server.endpoint import Endpoint, Handler, Server, json_response
from portcall.server.guard import Guard
from portcall.server.polls import Polls
from portcall.server.routes import calls, commands, events, executions, probes
from portcall.settings import Settings

_SPEC = "/api/openapi.json"


async def _spec(_server: Server, _request: Request, _query: Any) -> dict[str, Any]:
    return openapi.describe(ENDPOINTS)


ENDPOINTS: tuple[Endpoint, ...] = (
    *events.ENDPOINTS,
    *commands.ENDPOINTS,
    *calls.ENDPOINTS,
    *executions.ENDPOINTS,
    *probes.ENDPOINTS,
    Endpoint("GET", _SPEC, "This description.", _spec, dict),
)
"""Every route; the first ones are the hot ones."""


PROBES: tuple[Endpoint, ...] = probes.ENDPOINTS
"""The routes of a process that serves no API: a worker, a watcher."""


def create_app(
    client: Client,
    settings: Settings,
    *,
    ready: Callable[[], Awaitable[bool]],
    measure: Callable[[], Awaitable[None]] | None = None,
    endpoints: tuple[Endpoint, ...] = ENDPOINTS,
) -> Starlette:
    """The application. It does not own `client`. `ready` says whether the process can do its work, `measure`
    brings gauges up to date that are read when the metrics are shown.
    """
    if settings.token:
        add_secret(settings.token)
    server = Server(client, settings, ready, Guard(settings.token), Polls(settings.poll_seconds), measure)
    app = Starlette(
        routes=[Handler(endpoint, server).route() for endpoint in endpoints],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    app.state.server = server
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    kind = "not_found" if status == 404 else "usage"  # noqa: PLR2004 - HTTP
    message = f"There is no {request.method} {request.url.path} here; {_SPEC} lists what there is."
    return json_response(Failure(error=ErrorBody(kind=kind, message=message)), status, headers)
