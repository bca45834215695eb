"""One route: what it takes, what it answers, and everything that is the same for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from portcall.client import wire
from portcall.client.port import Client
from portcall.errors import PortcallError, TooLargeError, UnavailableError, UsageError
from portcall.observe import metrics, tracing
from portcall.server.guard import Guard
from portcall.server.polls import Polls
from portcall.settings import Settings

T = TypeVar("T")
BODY_SECONDS = 30.0
"""A body that trickles in more slowly is given up."""
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_encoder = msgspec.json.Encoder()
_log = logging.getLogger("portcall.server")


@dataclass(slots=True)
class Server:
    """What the routes share."""

    client: Client
    settings: Settings
    ready: Callable[[], Awaitable[bool]]
    guard: Guard
    polls: Polls
    measure: Callable[[], Awaitable[None]] | None = None
    """Brings gauges up to date before the metrics are shown."""
    active: int = 0


class NoQuery(msgspec.Struct):
    pass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`handle(server, request, query)` gives a struct of type `answer`, or a finished `Response`."""

    method: Literal["GET", "POST"]
    path: str
    summary: str
    handle: Callable[[Server, Request, Any], Awaitable[Any]]
    answer: Any
    query: type[msgspec.Struct] = NoQuery
    body: Any = None
    """The type of the JSON body; `str` is YAML text."""
    open: bool = False
    """For probes: neither a token nor a place among the concurrent requests is needed."""
    polls: bool = False


class Handler:
    """An endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, server: Server) -> None:
        self._endpoint = endpoint
        self._server = server

    def route(self) -> Route:
        return Route(self._endpoint.path, self, methods=[self._endpoint.method])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if self._endpoint.open:
            await (await self._answer(request))(scope, receive, send)
            return
        self._server.active += 1
        metrics.gauge("http_active", self._server.active)
        began = time.perf_counter()
        try:
            with tracing.span(
                f"{self._endpoint.method} {self._endpoint.path}", request.headers.get("traceparent", "")
            ):
                response = await self._answer(request)
            await response(scope, receive, send)
        except ClientDisconnect:
            return
        finally:
            self._server.active -= 1
            metrics.gauge("http_active", self._server.active)
        self._measure(response.status_code, time.perf_counter() - began)

    async def _answer(self, request: Request) -> Response:
        try:
            if not self._endpoint.open:
                self._admit(request)
            query = _query(request, self._endpoint.query)
            answer = await self._endpoint.handle(self._server, request, query)
            return answer if isinstance(answer, Response) else json_response(answer)
        except PortcallError as error:
            return error_response(error)
        except (ClientDisconnect, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - the one boundary: whatever it is, the caller gets a sentence and the log the rest
            _log.exception("%s %s failed.", self._endpoint.method, self._endpoint.path)
            return error_response(PortcallError("The server could not do this; its log says why."))

    def _admit(self, request: Request) -> None:
        try:
            if self._server.active > self._server.settings.max_requests:
                raise _busy(self._server.settings.max_requests)
            self._server.guard.check(request.method, request.headers)
        except PortcallError as error:
            metrics.count("http_refused", reason=wire.to_failure(error).error.kind)
            raise

    def _measure(self, status: int, seconds: float) -> None:
        route, method = self._endpoint.path, self._endpoint.method
        metrics.count("http_requests", route=route, method=method, status=str(status))
        if not self._endpoint.polls:
            metrics.observe_seconds("http_request_seconds", seconds, route=route, method=method)


def _busy(most: int) -> UnavailableError:
    error = UnavailableError(f"The server works on {most} requests already; try again in a second.")
    error.retry_after = 1.0
    return error


def json_response(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_encoder.encode(answer), status, _HEADERS | (headers or {}), "application/json")


def error_response(error: PortcallError) -> Response:
    headers = {}
    if isinstance(error, UnavailableError) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    if error.http_status == 401:  # noqa: PLR2004 - HTTP
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, TooLargeError):
        headers["connection"] = "close"  # the rest of the body is not read
    return json_response(wire.to_failure(error), error.http_status, headers)


def _query(request: Request, kind: type[msgspec.Struct]) -> Any:
    if kind is NoQuery:
        return None
    try:
        return msgspec.convert(dict(request.query_params), kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"The query of {request.url.path} is wrong: {error}.") from error


async def read_body(server: Server, request: Request) -> bytes:
    """The body, refused as soon as it is too large."""
    most = server.settings.max_body_bytes
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                chunks.append(chunk)
    except TimeoutError:
        raise UsageError(f"The body of {request.url.path} did not arrive within {BODY_SECONDS:g} s.") from None
    return b"".join(chunks)


class NestingError(UsageError):
    """The body is nested too deeply."""


async def read_json(server: Server, request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    return decode_json(await read_body(server, request), decoder)


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(body)
    except RecursionError as error:
        raise NestingError("The body is nested too deeply.") from error
    except ValueError as error:
        raise UsageError(f"The body is wrong: {why(error)}.") from error


def why(error: Exception) -> str:
    """Decoding errors in words: msgspec's name the place; the rest is about the bytes."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    return str(error).rstrip(".")


def check_batch(server: Server, size: int, what: str) -> None:
    if size > server.settings.max_batch:
        raise TooLargeError(f"{size} {what} in one request; send at most {server.settings.max_batch} at once.")


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"The body is larger than {most} bytes; send less at once, or raise max_body_bytes.")
