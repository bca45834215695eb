"""Listening, probes, metrics and the OpenAPI description."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import httpx2
import pytest

from portcall.errors import UnavailableError, UsageError
from portcall.server.app import ENDPOINTS, create_app
from portcall.server.openapi import describe
from portcall.server.serve import serve
from portcall.settings import Settings


def _get(live_server: Any, path: Any) -> Any:
    async def main() -> None:
        async with live_server.running(), httpx2.AsyncClient(trust_env=False) as http:
            return await http.get(live_server.url + path)

    return asyncio.run(main())


def test_a_port_that_is_taken_is_a_sentence(live: Any) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            app = create_app(live().engine, Settings(), ready=lambda: None)
            with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{port}.*--port"):
                await serve(app, "127.0.0.1", port, asyncio.Event(), on_listening=lambda _: None)

    asyncio.run(main())


def test_it_leaves_the_signals_to_the_caller(live: Any) -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        async with live().client() as client:
            await client.executions()
            assert signal.getsignal(signal.SIGTERM) is before

    asyncio.run(main())


def test_after_the_end_the_port_is_closed(live: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            await client.executions()
            server.stop.set()
        async with httpx2.AsyncClient(trust_env=False) as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get(server.url + "/healthz")

    asyncio.run(main())


@pytest.mark.parametrize("ready", [False, UnavailableError("disk full")])
def test_not_ready_is_503_and_still_healthy(live: Any, ready: Any) -> None:
    server = live()
    server.ready = ready
    assert _get(server, "/readyz").status_code == 503
    server = live()
    server.ready = ready
    assert _get(server, "/healthz").status_code == 200


def test_metrics_count_requests_by_route_and_never_by_id(live: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client, httpx2.AsyncClient(trust_env=False) as http:
            await client.execution("123456789")
            answer = await http.get(server.url + "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        line = (
            'portcall_http_requests_total{method="GET",route="/api/executions/{execution_id}",status="200"} 1.0'
        )
        assert line in answer.text
        assert "123456789" not in answer.text

    asyncio.run(main())


def test_the_description_has_every_route_and_every_reference_leads_somewhere(live: Any) -> None:
    answer = _get(live(), "/api/openapi.json").json()
    assert answer == describe(ENDPOINTS)
    operations = [(method, path) for path, methods in answer["paths"].items() for method in methods]
    assert len(operations) == len(ENDPOINTS) - 1
    ids = [answer["paths"][path][method]["operationId"] for method, path in operations]
    assert len(set(ids)) == len(ids)
    for reference in _references(answer):
        where = answer
        for part in reference.removeprefix("#/").split("/"):
            where = where[part]
    events = answer["paths"]["/api/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "CallDone" in str(answer["components"]["schemas"][events["$ref"].rpartition("/")[2]])


def _references(node: Any) -> Any:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
