"""What people ask: register a playbook, start, look at and cancel executions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request

from portcall.client.wire import CancelBody, Events, Executions, Registered, Started
from portcall.errors import UsageError
from portcall.model.api import ExecutionView, StartRequest
from portcall.model.event import Event
from portcall.server.endpoint import Endpoint, Server, read_body, read_json

_start_body = msgspec.json.Decoder(StartRequest)
_cancel_body = msgspec.json.Decoder(CancelBody)

Limit = Annotated[int, Meta(ge=1, le=10_000)]
Place = Annotated[int, Meta(ge=0, description="Place in the execution's log.")]


class FileQuery(msgspec.Struct):
    file: str = ""


class ListQuery(msgspec.Struct):
    limit: Limit = 100


class ViewQuery(msgspec.Struct):
    after: Place = 0
    wait: float = 0.0


class LogQuery(msgspec.Struct):
    after: Place = 0
    limit: Limit = 1000
    wait: float = 0.0


async def _register(server: Server, request: Request, query: FileQuery) -> Registered:
    body = await read_body(server, request)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UsageError("The playbook is not UTF-8 text.") from error
    return Registered(path=await server.client.register(text, query.file))


async def _start(server: Server, request: Request, _query: Any) -> Started:
    body = await read_json(server, request, _start_body)
    return Started(execution_id=await server.client.start(body))


async def _list(server: Server, _request: Request, query: ListQuery) -> Executions:
    return Executions(executions=await server.client.executions(query.limit))


async def _view(server: Server, request: Request, query: ViewQuery) -> ExecutionView:
    execution_id = request.path_params["execution_id"]

    async def ask(wait: float) -> ExecutionView:
        return await server.client.execution(execution_id, after=query.after, wait_seconds=wait)

    return await server.polls.run(ask, query.wait, request.receive)


async def _events(server: Server, request: Request, query: LogQuery) -> Events:
    execution_id = request.path_params["execution_id"]

    async def ask(wait: float) -> list[Event]:
        return await server.client.events(execution_id, after=query.after, limit=query.limit, wait_seconds=wait)

    return Events(events=await server.polls.run(ask, query.wait, request.receive))


async def _cancel(server: Server, request: Request, _query: Any) -> Started:
    body = await read_json(server, request, _cancel_body)
    execution_id = request.path_params["execution_id"]
    await server.client.cancel(execution_id, body.reason)
    return Started(execution_id=execution_id)


_ONE = "/api/executions/{execution_id}"
ENDPOINTS = (
    Endpoint("POST", "/api/playbooks", "Register a playbook.", _register, Registered, FileQuery, body=str),
    Endpoint("POST", "/api/executions", "Start an execution.", _start, Started, body=StartRequest),
    Endpoint("GET", "/api/executions", "The newest executions.", _list, Executions, ListQuery),
    Endpoint("GET", _ONE, "One execution.", _view, ExecutionView, ViewQuery, polls=True),
    Endpoint("GET", f"{_ONE}/events", "Its log.", _events, Events, LogQuery, polls=True),
    Endpoint("POST", f"{_ONE}/cancel", "Cancel it.", _cancel, Started, body=CancelBody),
)
