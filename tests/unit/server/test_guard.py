"""Who is let in: token, Host, Origin, content type, and where the server may listen at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from portcall.client.http import HttpClient
from portcall.errors import UnauthorizedError, UsageError
from portcall.server.guard import check_binding, is_loopback

TOKEN = "correct-horse"  # noqa: S105 - of the test

ELSEWHERE = ("0.0.0.0", "::", "", "10.0.0.1", "example.org", "localhost.evil.example")  # noqa: S104 - to be refused


@pytest.fixture(scope="module")
def ask(serving: Any) -> Any:
    """`ask(token, method, path, ...)`: the answer, and what the engine was asked for it."""
    with serving() as plain, serving(token=TOKEN) as secured:

        def ask(token: Any, method: Any, path: Any, **options: Any) -> Any:
            one = secured if token else plain
            one.server.engine.asked.clear()
            one.http.headers = {}
            answer = one.http.request(method, path, **options)
            return list(one.server.engine.asked), answer

        yield ask


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", "Basic correct-horse", f"Bearer {TOKEN}x", TOKEN]
)
@pytest.mark.parametrize("path", ["/api/executions", "/metrics", "/api/openapi.json"])
def test_without_the_token_nothing_is_told(ask: Any, given: Any, path: Any) -> None:
    headers = {"authorization": given} if given is not None else {}
    asked, answer = ask(TOKEN, "GET", path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["kind"] == "unauthorized"
    assert TOKEN not in answer.text
    assert asked == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token_and_no_name(ask: Any, path: Any) -> None:
    _, answer = ask(TOKEN, "GET", path, headers={"host": "10.1.2.3:80"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    _, answer = ask("", "GET", path, headers={"host": "10.1.2.3:80"})
    assert answer.status_code == 200


def test_with_the_token_everything_works_under_any_name(ask: Any) -> None:
    headers = {"authorization": f"bearer {TOKEN}", "host": "portcall.example"}
    _, answer = ask(TOKEN, "GET", "/api/executions", headers=headers)
    assert answer.status_code == 200


def test_the_client_sends_its_token(live: Any) -> None:
    async def main() -> None:
        server = live(token=TOKEN)
        async with server.client(token=TOKEN) as client:
            assert await client.executions()
            stranger = HttpClient(server.url)
            with pytest.raises(UnauthorizedError, match="no token"):
                await stranger.executions()
            await stranger.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.", "[::2]:1"]
)
def test_a_name_that_was_bound_to_loopback_by_others_is_refused(ask: Any, host: Any) -> None:
    asked, answer = ask("", "GET", "/api/executions", headers={"host": host})
    assert answer.status_code == 400
    assert asked == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8642", "127.0.0.1", "[::1]", "[::1]:8642"])
def test_the_names_of_loopback_are_right(ask: Any, host: Any) -> None:
    _, answer = ask("", "GET", "/api/executions", headers={"host": host})
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
def test_a_page_of_another_site_is_refused(ask: Any, headers: Any) -> None:
    asked, answer = ask("", "POST", "/api/executions", headers=headers, json={"path": "x"})
    assert answer.status_code == 400
    assert asked == []


def test_a_page_of_the_server_itself_is_served(ask: Any) -> None:
    headers = {"host": "localhost:1", "origin": "http://localhost:1", "sec-fetch-site": "same-origin"}
    _, answer = ask("", "POST", "/api/executions", headers=headers, json={"path": "x"})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_could_send_is_refused(ask: Any, kind: Any) -> None:
    headers = {"content-type": kind} if kind else {}
    asked, answer = ask("", "POST", "/api/executions", headers=headers, content=b'{"path": "x"}')
    assert answer.status_code == 400
    assert asked == []


def test_a_token_beyond_ascii_is_only_wrong(ask: Any) -> None:
    headers = [(b"authorization", b"Bearer \xff\xfe")]
    _, answer = ask(TOKEN, "GET", "/api/executions", headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_token(host: Any) -> None:
    assert is_loopback(host)
    check_binding(host, "")


@pytest.mark.parametrize("host", ELSEWHERE)
def test_elsewhere_needs_one(live: Any, host: Any) -> None:
    with pytest.raises(UsageError, match="token_file"):
        check_binding(host, "")
    check_binding(host, "t")

    async def main() -> None:
        async with live(host=host).running():
            raise AssertionError("it listens")

    with pytest.raises(UsageError, match="token_file"):
        asyncio.run(main())
