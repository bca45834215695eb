"""HttpClient against servers that misbehave, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from portcall.client import http
from portcall.client.http import HttpClient
from portcall.errors import PortcallError, TooLargeError, UnavailableError, UsageError
from portcall.model.event import CallDone
from portcall.observe.secrets import forget_secrets, redact


@contextlib.asynccontextmanager
async def _server(*pieces: bytes, hang: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Reads the head of a request, writes the pieces, and closes (or stays silent)."""
    heads: list[bytes] = []
    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(cast("asyncio.Task[None]", asyncio.current_task()))
        with contextlib.suppress(ConnectionError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in pieces:
                writer.write(piece)
            await writer.drain()
            if hang:
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}", heads
    finally:
        server.close()
        await asyncio.gather(*answering)


def _head(status: int, length: int, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{more}\r\n".encode()


def _raised(
    kind: type[PortcallError], *pieces: bytes, hang: bool = False, timeout: float = 30.0
) -> PortcallError:
    async def main() -> PortcallError:
        async with _server(*pieces, hang=hang) as (url, _):
            client = HttpClient(url, timeout=timeout)
            try:
                with pytest.raises(kind) as raised:
                    await client.executions()
            finally:
                await client.close()
            assert url in raised.value.message
            assert raised.value.message.endswith((".", "?"))
            return raised.value

    return asyncio.run(main())


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    async def main() -> None:
        client = HttpClient(url)
        with pytest.raises(UnavailableError, match=url):
            await client.executions()
        await client.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "pieces", [(), (b"garbage\r\n\r\n",), (_head(200, 100), b"{"), (b"HTTP/1.1 200 OK\r\n",)]
)
def test_a_connection_that_breaks_may_be_tried_again(pieces: Any) -> None:
    _raised(UnavailableError, *pieces)


def test_a_server_that_stays_silent_is_given_up() -> None:
    assert "in time" in _raised(UnavailableError, hang=True, timeout=0.05).message


@pytest.mark.parametrize("body", [b"<html>", b'{"executions": 3}', b"[" * 5000, b"\xff"])
def test_an_answer_of_another_kind_is_said_so(body: Any) -> None:
    assert "portcall server" in _raised(UnavailableError, _head(200, len(body)), body).message


@pytest.mark.parametrize(
    ("status", "more", "after"),
    [
        (429, "retry-after: 3\r\n", 3.0),
        (502, "", None),
        (503, "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n", None),
    ],
)
def test_a_proxy_that_is_busy_may_be_tried_again(status: Any, more: Any, after: Any) -> None:
    assert _raised(UnavailableError, _head(status, 4, more), b"busy").retry_after == after


@pytest.mark.parametrize("status", [301, 404, 400])
def test_a_server_of_another_kind_is_a_wrong_url(status: Any) -> None:
    assert "URL" in _raised(UsageError, _head(status, 2), b"no").message


@pytest.mark.parametrize("length", ["content-length: 1000000", "transfer-encoding: chunked"])
def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, length: Any) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 5000)
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    _raised(TooLargeError, f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode(), *[chunk] * 10, hang=True)


@pytest.mark.parametrize(
    "url", ["", "localhost:8642", "ftp://x", "http://", "http://[::1", "http://x:port", "//x"]
)
def test_what_is_no_url_is_refused_at_once(url: Any) -> None:
    with pytest.raises(UsageError, match="URL"):
        HttpClient(url)


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def main() -> None:
        body = b'{"executions":[]}'
        async with _server(_head(200, len(body)), body) as (url, heads):
            client = HttpClient(url, "a-long-token")
            assert await client.executions() == []
            await client.close()
            assert b"authorization: bearer a-long-token" in heads[0].lower()
            assert b"traceparent: 00-" in heads[0].lower()

    asyncio.run(main())


@pytest.mark.parametrize("data", ["\ud800", object(), float])
def test_what_json_cannot_say_is_the_callers_fault(data: Any) -> None:
    deep: list = []
    for _ in range(5000):
        deep = [deep]

    async def main() -> None:
        client = HttpClient("http://127.0.0.1:9")
        for one in (data, deep):
            event = CallDone(execution_id="7", at="", call_id="c", status="success", data=one)
            with pytest.raises(UsageError, match="JSON"):
                await client.report([event])
        await client.close()

    asyncio.run(main())


def test_its_token_is_never_logged() -> None:
    HttpClient("http://127.0.0.1:9", "a-long-token")
    try:
        assert "a-long-token" not in redact("Bearer a-long-token")
    finally:
        forget_secrets()
