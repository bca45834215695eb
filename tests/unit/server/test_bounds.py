"""Bodies, batches and concurrent requests are bounded; no bytes whatever make the server fail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portcall.errors import TooLargeError, UnavailableError


async def _raw(url: Any, data: Any) -> Any:
    """Send bytes as they are; all that comes back until the server closes."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await writer.drain()
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_body_that_says_it_is_too_large_is_not_read(live: Any) -> None:
    async def main() -> None:
        server = live(max_body_bytes=2000)
        async with server.running():
            head = b"POST /api/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            answer = await _raw(server.url, head + b"content-length: 2001\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        assert b'"kind":"too_large"' in answer

    asyncio.run(main())


def test_a_body_that_does_not_say_is_refused_while_it_streams(live: Any) -> None:
    async def main() -> None:
        server = live(max_body_bytes=2000)
        async with server.running():
            head = b"POST /api/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            chunk = b"400\r\n" + b" " * 0x400 + b"\r\n"
            answer = await _raw(server.url, head + b"transfer-encoding: chunked\r\n\r\n" + 2 * chunk)
        assert answer.startswith(b"HTTP/1.1 413")

    asyncio.run(main())


def test_the_client_is_told_that_its_body_is_too_large(live: Any) -> None:
    async def main() -> None:
        server = live(max_body_bytes=2000)
        async with server.client() as client:
            with pytest.raises(TooLargeError, match="2000 bytes"):
                await client.register("#" * 3_000_000)
            assert await client.register("#" * 2000)

    asyncio.run(main())


def test_batches_are_bounded(live: Any) -> None:
    async def main() -> None:
        server = live(max_batch=3)
        async with server.client() as client:
            with pytest.raises(TooLargeError, match="at most 3"):
                await client.known_calls(list("abcd"))
            with pytest.raises(TooLargeError):
                await client.heartbeat("w", dict.fromkeys("abcd", 1))
            with pytest.raises(TooLargeError):
                await client._call("/api/events", msgspec.Raw, body={"events": [1] * 4})
            assert len(await client.known_calls(list("abc"))) == 3
        assert [name for name, _ in server.engine.asked] == ["known_calls"]

    asyncio.run(main())


def test_beyond_its_places_the_server_says_when_to_come_again(live: Any) -> None:
    async def main() -> None:
        server = live(max_requests=1)
        async with server.client() as client:
            waiting = asyncio.ensure_future(client.stops("process", 0, 50))
            await server.engine.waiting.wait()
            with pytest.raises(UnavailableError) as raised:
                await client.executions()
            assert raised.value.retry_after == 1
            async with httpx2.AsyncClient(trust_env=False) as http:
                assert (await http.get(server.url + "/healthz")).status_code == 200
            server.engine.wake.set()
            await waiting
            assert await client.executions()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/calls/open", "runtime"),
        ("/api/executions?limit=0", "limit"),
        ("/api/executions?limit=many", "limit"),
        ("/api/executions/7?after=-1", "after"),
        ("/api/executions/7?wait=x", "wait"),
    ],
)
def test_a_wrong_query_is_named(live: Any, path: Any, said: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.running(), httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(server.url + path)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]

    asyncio.run(main())


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/api/events", 405)])
def test_what_is_not_there_is_said_as_json(live: Any, method: Any, path: Any, status: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.running(), httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.request(method, server.url + path)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]

    asyncio.run(main())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from(["call.done", "call.parked", "call.log", "step.entered", "x"])},
    optional=dict.fromkeys(
        ("event_id", "execution_id", "at", "call_id", "data", "handle", "claim"), JSON_VALUES
    ),
)
BODY = st.fixed_dictionaries(
    {"events": st.lists(EVENT | JSON_VALUES, max_size=4)}, optional={"claim": JSON_VALUES, "more": JSON_VALUES}
)


def test_no_bytes_make_the_server_fail(serving: Any) -> None:
    with serving(max_batch=3) as thread:

        @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.binary() | BODY.map(lambda body: json.dumps(body).encode("utf-8", "surrogatepass")))
        def ask(body: Any) -> Any:
            answer = thread.http.post("/api/events", content=body)
            assert answer.status_code in (200, 400, 413)
            if answer.status_code == 200:
                sent = json.loads(body).get("events", [])
                assert len(answer.json().get("answers", [])) == len(sent)

        ask()


def test_known_traps(serving: Any) -> None:
    bodies = [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"events":' + b"[" * 100_000,
        b'{"events":[' + b"[" * 20_000 + b"]" * 20_000 + b"]}",
        b'{"events":[{"type":"call.log","event_id":"\\ud800"}]}',
        b'{"events":[1e999]}',
        b'{"events":null}',
        b'{"claim":{"worker_id":"","slots":1}}',
    ]
    with serving() as thread:
        for body in bodies:
            status = thread.http.post("/api/events", content=body).status_code
            assert status in (200, 400), body[:40]
