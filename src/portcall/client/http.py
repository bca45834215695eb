"""The server over HTTP: one pool of connections, bounded answers, errors back in the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from portcall.client import wire
from portcall.errors import PortcallError, TooLargeError, UnavailableError, UsageError
from portcall.model.api import (
    ClaimRequest,
    Command,
    ExecutionSummary,
    ExecutionView,
    Heartbeat,
    OpenCall,
    Report,
    StartRequest,
    Stops,
)
from portcall.model.event import Event, Reported
from portcall.observe import tracing
from portcall.observe.secrets import add_secret

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
MAX_ANSWER_BYTES = 64 << 20
_CONNECT_SECONDS = 5.0
_KEEPALIVE_SECONDS = 30.0  # shorter than the server's, so that it never closes a connection in use
_LOCAL = ("localhost", "127.0.0.1", "::1")
_encoder = msgspec.json.Encoder()
_JSON = "application/json"
_YAML = "application/yaml"


class HttpClient:
    """`portcall.client.port.Client` over HTTP. `timeout` in seconds, beside what a long poll waits."""

    def __init__(self, url: str, token: str = "", *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._local = _host(url) in _LOCAL
        self._token = token
        self._timeout = timeout
        self._pool: httpx2.AsyncClient | None = None
        if token:
            add_secret(token)

    async def register(self, text: str, file: str = "") -> str:
        query = {"file": file} if file else None
        return (await self._call("/api/playbooks", wire.Registered, body=text, query=query)).path

    async def start(self, request: StartRequest) -> str:
        return (await self._call("/api/executions", wire.Started, body=request)).execution_id

    async def report(self, events: list[Reported], claim: ClaimRequest | None = None) -> Report:
        body = {"events": events, "claim": claim}
        return await self._call("/api/events", Report, body=body)

    async def claim(self, request: ClaimRequest) -> list[Command]:
        wait = request.wait_seconds
        return (await self._call("/api/commands/claim", wire.Commands, body=request, wait=wait)).commands

    async def heartbeat(self, worker_id: str, calls: dict[str, int]) -> Heartbeat:
        path = f"/api/workers/{_quoted(worker_id)}/heartbeat"
        return await self._call(path, Heartbeat, body=wire.HeartbeatBody(calls=calls))

    async def open_calls(self, runtime: str) -> list[OpenCall]:
        return (await self._call("/api/calls/open", wire.OpenCalls, query={"runtime": runtime})).calls

    async def known_calls(self, call_ids: list[str]) -> dict[str, Literal["open", "closed", "unknown"]]:
        body = wire.CallsBody(call_ids=call_ids)
        return (await self._call("/api/calls/known", wire.KnownCalls, body=body)).calls

    async def stops(self, runtime: str, after: int, wait_seconds: float) -> Stops:
        query = {"runtime": runtime, "after": after, "wait": wait_seconds}
        return await self._call("/api/calls/stops", Stops, query=query, wait=wait_seconds)

    async def cancel(self, execution_id: str, reason: str = "") -> None:
        path = f"/api/executions/{_quoted(execution_id)}/cancel"
        await self._call(path, wire.Started, body=wire.CancelBody(reason=reason))

    async def execution(self, execution_id: str, *, after: int = 0, wait_seconds: float = 0) -> ExecutionView:
        path = f"/api/executions/{_quoted(execution_id)}"
        return await self._call(
            path, ExecutionView, query={"after": after, "wait": wait_seconds}, wait=wait_seconds
        )

    async def executions(self, limit: int = 100) -> list[ExecutionSummary]:
        return (await self._call("/api/executions", wire.Executions, query={"limit": limit})).executions

    async def events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0
    ) -> list[Event]:
        path = f"/api/executions/{_quoted(execution_id)}/events"
        query = {"after": after, "limit": limit, "wait": wait_seconds}
        return (await self._call(path, wire.Events, query=query, wait=wait_seconds)).events

    async def close(self) -> None:
        """Also ends requests under way. The client can be used again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    # -- one request --------------------------------------------------------------------------

    async def _call(
        self,
        path: str,
        answer: type[T],
        *,
        query: dict[str, Any] | None = None,
        body: object = None,
        wait: float = 0,
    ) -> T:
        """POST when there is a body: text is YAML, anything else becomes JSON."""
        with tracing.span(f"request {path}"):
            return await self._exchange(path, answer, query, body, wait)

    async def _exchange(
        self, path: str, answer: type[T], query: dict[str, Any] | None, body: object, wait: float
    ) -> T:
        import httpx2

        headers = {"traceparent": tracing.current()}
        content = None
        if body is not None:
            content = _encoded(body)
            headers["content-type"] = _YAML if isinstance(body, str) else _JSON
        pool = self._connected()
        timeout = httpx2.Timeout(self._timeout + wait, connect=min(_CONNECT_SECONDS, self._timeout))
        request = pool.build_request(
            "GET" if body is None else "POST",
            self.url + path,
            params=query,
            content=content,
            headers=headers,
            timeout=timeout,
        )
        try:
            response = await pool.send(request, stream=True)
            try:
                received = await self._read(response)
            finally:
                await response.aclose()
        except httpx2.TimeoutException as error:
            raise UnavailableError(
                f"The server at {self.url} did not answer in time; is it overloaded?"
            ) from error
        except (httpx2.RequestError, httpx2.StreamError) as error:
            raise UnavailableError(f"The server at {self.url} cannot be reached: {_reason(error)}.") from error
        if response.status_code == httpx2.codes.OK:
            return self._decoded(received, answer)
        raise self._failure(response, received)

    def _connected(self) -> httpx2.AsyncClient:
        if self._pool is None:
            import httpx2

            headers = {"accept": _JSON, "accept-encoding": "identity", "user-agent": "portcall"}
            if self._token:
                headers["authorization"] = f"Bearer {self._token}"
            # A proxy from the environment cannot reach this machine's own loopback.
            self._pool = httpx2.AsyncClient(
                headers=headers,
                limits=httpx2.Limits(
                    max_connections=100, max_keepalive_connections=20, keepalive_expiry=_KEEPALIVE_SECONDS
                ),
                verify=self.url.startswith("https:") or _no_tls(),
                trust_env=not self._local,
            )
        return self._pool

    async def _read(self, response: httpx2.Response) -> bytes:
        chunks, size = [], 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise TooLargeError(
                    f"The server at {self.url} answered with more than {MAX_ANSWER_BYTES} bytes;"
                    " ask for less at once."
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _decoded(self, body: bytes, answer: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=answer)
        except (ValueError, RecursionError) as error:
            raise UnavailableError(
                f"The server at {self.url} answered with what is not portcall's ({error});"
                " is it a portcall server, of this version?"
            ) from error

    def _failure(self, response: httpx2.Response, body: bytes) -> PortcallError:
        status = response.status_code
        try:
            error = wire.to_error(msgspec.json.decode(body, type=wire.Failure), status)
        except (ValueError, RecursionError):
            error = _foreign(self.url, status)
        if isinstance(error, UnavailableError):
            error.retry_after = _seconds(response.headers.get("retry-after", ""))
        return error


def _encoded(body: object) -> bytes:
    try:
        return body.encode() if isinstance(body, str) else _encoder.encode(body)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else _reason(error)
        raise UsageError(f"The request cannot be sent as JSON: {reason}.") from error


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise UsageError(f"{url!r} is not the URL of a server; it looks like http://127.0.0.1:8642.")


def _foreign(url: str, status: int) -> PortcallError:
    """An answer that a proxy made, or another kind of server."""
    if status >= 500 or status == 429:  # noqa: PLR2004 - HTTP
        return UnavailableError(f"The server at {url} answered with HTTP {status}; try again.")
    return UsageError(f"{url} answered with HTTP {status}, not as a portcall server does; check the URL.")


def _no_tls() -> Any:
    """A context that trusts nobody: plain http needs none, and loading the certificates takes long."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


def _seconds(text: str) -> float | None:
    """Retry-After as a number; its other form, a date, is no use between clocks that differ."""
    return float(text) if text.isascii() and text.isdigit() else None
