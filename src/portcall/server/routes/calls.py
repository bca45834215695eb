"""What watchers ask: the calls they answer for, and those to stop."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from portcall.client.wire import CallsBody, KnownCalls, OpenCalls
from portcall.model.api import Stops
from portcall.server.endpoint import Endpoint, Server, check_batch, read_json

_calls_body = msgspec.json.Decoder(CallsBody)


class OpenQuery(msgspec.Struct):
    runtime: str


class StopsQuery(msgspec.Struct):
    runtime: str
    after: int = 0
    wait: float = 0.0


async def _open(server: Server, _request: Request, query: OpenQuery) -> OpenCalls:
    return OpenCalls(calls=await server.client.open_calls(query.runtime))


async def _known(server: Server, request: Request, _query: Any) -> KnownCalls:
    body = await read_json(server, request, _calls_body)
    check_batch(server, len(body.call_ids), "calls")
    return KnownCalls(calls=await server.client.known_calls(body.call_ids))


async def _stops(server: Server, request: Request, query: StopsQuery) -> Stops:
    async def ask(wait: float) -> Stops:
        return await server.client.stops(query.runtime, query.after, wait)

    return await server.polls.run(ask, query.wait, request.receive)


ENDPOINTS = (
    Endpoint("GET", "/api/calls/open", "Calls of a runtime that have not ended.", _open, OpenCalls, OpenQuery),
    Endpoint("POST", "/api/calls/known", "Which of these calls are known.", _known, KnownCalls, body=CallsBody),
    Endpoint("GET", "/api/calls/stops", "Calls to stop.", _stops, Stops, StopsQuery, polls=True),
)
