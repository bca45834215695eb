"""Who is let in: token, Host, Origin, content type, and where the server may listen at all."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from portcall.client.http import HttpClient
from portcall.errors import UnauthorizedError, UsageError
from portcall.server.guard import check_binding, is_loopback

TOKEN = "correct-horse"


def _ask(live, settings, method, path, **options):
    async def main():
        server = live(**settings)
        async with server.running(), httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            options.setdefault("headers", {})
            return server, await http.request(method, path, **options)

    return asyncio.run(main())


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer wrong", "Basic correct-horse", f"Bearer {TOKEN}x", TOKEN])
@pytest.mark.parametrize("path", ["/api/executions", "/metrics", "/api/openapi.json"])
def test_without_the_token_nothing_is_told(live, given, path):
    headers = {"authorization": given} if given is not None else {}
    server, answer = _ask(live, {"token": TOKEN}, "GET", path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["kind"] == "unauthorized"
    assert TOKEN not in answer.text
    assert server.engine.asked == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token_and_no_name(live, path):
    _, answer = _ask(live, {"token": TOKEN}, "GET", path, headers={"host": "10.1.2.3:80"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    _, answer = _ask(live, {}, "GET", path, headers={"host": "10.1.2.3:80"})
    assert answer.status_code == 200


def test_with_the_token_everything_works_under_any_name(live):
    headers = {"authorization": f"bearer {TOKEN}", "host": "portcall.example"}
    _, answer = _ask(live, {"token": TOKEN}, "GET", "/api/executions", headers=headers)
    assert answer.status_code == 200


def test_the_client_sends_its_token(live):
    async def main():
        server = live(token=TOKEN)
        async with server.client(token=TOKEN) as client:
            assert await client.executions()
            stranger = HttpClient(server.url)
            with pytest.raises(UnauthorizedError, match="no token"):
                await stranger.executions()
            await stranger.close()

    asyncio.run(main())


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.", "[::2]:1"])
def test_a_name_that_was_bound_to_loopback_by_others_is_refused(live, host):
    server, answer = _ask(live, {}, "GET", "/api/executions", headers={"host": host})
    assert answer.status_code == 400
    assert server.engine.asked == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8642", "127.0.0.1", "[::1]", "[::1]:8642"])
def test_the_names_of_loopback_are_right(live, host):
    _, answer = _ask(live, {}, "GET", "/api/executions", headers={"host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_is_refused(live, headers):
    server, answer = _ask(live, {}, "POST", "/api/executions", headers=headers, json={"path": "x"})
    assert answer.status_code == 400
    assert server.engine.asked == []


def test_a_page_of_the_server_itself_is_served(live):
    headers = {"host": "localhost:1", "origin": "http://localhost:1", "sec-fetch-site": "same-origin"}
    _, answer = _ask(live, {}, "POST", "/api/executions", headers=headers, json={"path": "x"})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_could_send_is_refused(live, kind):
    headers = {"content-type": kind} if kind else {}
    server, answer = _ask(live, {}, "POST", "/api/executions", headers=headers, content=b'{"path": "x"}')
    assert answer.status_code == 400
    assert server.engine.asked == []


def test_a_token_beyond_ascii_is_only_wrong(live):
    headers = [(b"authorization", b"Bearer \xff\xfe")]
    _, answer = _ask(live, {"token": TOKEN}, "GET", "/api/executions", headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    assert is_loopback(host)
    check_binding(host, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "localhost.evil.example"])
def test_elsewhere_needs_one(live, host):
    with pytest.raises(UsageError, match="token_file"):
        check_binding(host, "")
    check_binding(host, "t")

    async def main():
        async with live(host=host).running():
            raise AssertionError("it listens")

    with pytest.raises(UsageError, match="token_file"):
        asyncio.run(main())
