from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from portcall.errors import ToolError
from portcall.tool.address import forbidden
from portcall.tool.http import HttpConfig

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

PLAIN = {
    "text": (200, "grün".encode("latin-1"), "text/plain; charset=latin-1"),
    "plain-json": (200, b"[1, 2]", "text/plain"),
    "broken-json": (200, b"{", "application/json"),
    "bytes": (200, b"\xff\xfe", "application/octet-stream"),
    "empty": (204, b""),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = {"method": self.command, "path": path, "query": query, "headers": headers, "body": body.decode()}
        first, _, rest = path.strip("/").partition("/")
        if first in PLAIN:
            self.answer(*PLAIN[first])
        elif first == "status":
            self.answer(int(rest), b'{"why": "because"}', "application/problem+json")
        elif first == "redirect":
            self.answer(302, b"", location=f"http://localhost:{rest}")
        elif first == "away":
            self.answer(302, b"", location="http://169.254.169.254/latest/meta-data")
        elif first == "loop":
            self.answer(302, b"", location="/loop")
        elif first == "large":
            self.answer(200, b"x" * int(rest), "text/plain")
        elif first == "silent":
            self.server.release.wait()  # type: ignore[attr-defined] # set by the fixture
        elif first == "cut":
            self.close_connection = True
        else:
            self.answer(200, json.dumps(seen).encode(), "application/json")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815 - the standard library's names

    def answer(self, code: int, body: bytes, kind: str = "", **headers: str) -> None:
        self.send_response(code)
        for name, value in {**({"content-type": kind} if kind else {}), **headers}.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.release = threading.Event()  # type: ignore[attr-defined] # for the silent path
        made.daemon_threads = True
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.release.set()  # type: ignore[attr-defined] # as above
        made.shutdown()
        thread.join()


@pytest.fixture
def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def seen(bench: Any, config: dict[str, Any], **more: Any) -> Any:
    return bench.run("http", config, **more)["data"]


def error_of(bench: Any, config: dict[str, Any]) -> ToolError:
    with pytest.raises(ToolError) as caught:
        bench.run("http", config)
    return caught.value


def test_the_answer_is_status_headers_and_parsed_body(bench: Any, url: str) -> None:
    data = bench.run("http", {"endpoint": f"{url}/a?z=0", "params": {"q": [1, "b"], "none": None}})
    assert data["status_code"] == 200
    assert data["headers"]["content-type"] == "application/json"
    assert data["body"] == data["data"]
    assert (data["data"]["method"], data["data"]["query"]) == ("GET", "z=0&q=1&q=b")


@pytest.mark.parametrize(
    ("config", "body", "kind"),
    [
        ({"json": {"a": 1}}, '{"a":1}', "application/json"),
        ({"json": None}, "null", "application/json"),
        ({"body": "text"}, "text", "text/plain; charset=utf-8"),
        ({"payload": {"a": [1]}}, '{"a":[1]}', "application/json"),
        ({"data": [1]}, "[1]", "application/json"),
        ({"form": {"a": "x y", "b": 2, "c": None}}, "a=x+y&b=2", "application/x-www-form-urlencoded"),
        ({"body": "<a/>", "headers": {"Content-Type": "text/xml", "X-None": None}}, "<a/>", "text/xml"),
    ],
)
def test_bodies(bench: Any, url: str, config: dict[str, Any], body: str, kind: str) -> None:
    data = seen(bench, {"url": url, "method": "post", **config})
    assert (data["method"], data["body"], data["headers"]["content-type"]) == ("POST", body, kind)
    assert "x-none" not in data["headers"]


def test_the_trace_goes_on_unless_the_playbook_sets_it(bench: Any, url: str) -> None:
    assert seen(bench, {"url": url}, traceparent=TRACE)["headers"]["traceparent"] == TRACE
    own = {"url": url, "headers": {"Traceparent": "mine"}}
    assert seen(bench, own, traceparent=TRACE)["headers"]["traceparent"] == "mine"


BASIC = "Basic " + base64.b64encode(b"u:p").decode()


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "bearer", "token": "t"}, "authorization", "Bearer t"),
        ({"token": "t"}, "authorization", "Bearer t"),
        ({"type": "basic", "username": "u", "password": "p"}, "authorization", BASIC),
        ({"username": "u", "password": "p"}, "authorization", BASIC),
        ({"type": "api_key", "key": "k"}, "x-api-key", "k"),
        ({"type": "api_key", "key": "k", "header": "X-Own"}, "x-own", "k"),
        ("api", "authorization", "Bearer stored"),
        ({"credential": "api"}, "authorization", "Bearer stored"),
    ],
)
def test_credentials(bench: Any, url: str, auth: Any, header: str, value: str) -> None:
    bench.credentials["api"] = {"type": "bearer", "data": {"token": "stored"}}
    assert seen(bench, {"url": url, "auth": auth})["headers"][header] == value


def test_a_key_in_the_query_and_a_missing_credential(bench: Any, url: str) -> None:
    auth = {"type": "api_key", "key": "k", "in": "query", "param": "token"}
    assert seen(bench, {"url": url, "credential": auth, "params": {"a": 1}})["query"] == "a=1&token=k"
    error = error_of(bench, {"url": url, "auth": "nobody"})
    assert error.kind == "auth"
    assert "--credential nobody=FILE" in error.message


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "client_error", False),
        (401, "auth", False),
        (403, "auth", False),
        (404, "client_error", False),
        (429, "rate_limit", True),
        (500, "server_error", True),
        (501, "server_error", False),
        (503, "server_error", True),
    ],
)
def test_failures(bench: Any, url: str, status: int, kind: str, retryable: bool) -> None:  # noqa: FBT001 - a parameter
    error = error_of(bench, {"url": f"{url}/status/{status}"})
    assert (error.status, error.kind, error.retryable) == (status, kind, retryable)
    assert error.data["data"] == {"why": "because"}
    assert error.message.startswith(f"GET {url}/status/{status} answered {status} ")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("text", "grün"),
        ("plain-json", [1, 2]),
        ("broken-json", "{"),
        ("bytes", {"base64": "//4="}),
        ("empty", None),
    ],
)
def test_other_bodies(bench: Any, url: str, path: str, body: Any) -> None:
    assert seen(bench, {"url": f"{url}/{path}"}) == body


def test_the_answer_is_bounded(bench: Any, url: str) -> None:
    assert len(seen(bench, {"url": f"{url}/large/{1 << 20}"})) == 1 << 20
    assert error_of(bench, {"url": f"{url}/large/{(1 << 20) + 1}"}).kind == "too_large"


def test_a_silent_server_is_a_timeout(bench: Any, url: str) -> None:
    error = error_of(bench, {"url": f"{url}/silent", "timeout": "200ms"})
    assert (error.kind, error.retryable) == ("timeout", True)


def test_no_server_and_a_broken_connection(bench: Any, url: str, server: ThreadingHTTPServer) -> None:
    assert error_of(bench, {"url": f"{url}/cut"}).kind == "connection"
    server.socket.close()
    error = error_of(bench, {"url": f"{url}/"})
    assert (error.kind, error.retryable) == ("connection", True)
    assert error_of(bench, {"url": "http://nowhere.invalid/"}).kind == "connection"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "no url", "http://", "http://[::1"])
def test_wrong_urls(bench: Any, url: str) -> None:
    error = error_of(bench, {"url": url})
    assert error.kind == "config", error.message


def test_messages_hold_no_secrets(bench: Any, url: str) -> None:
    host = url.removeprefix("http://")
    error = error_of(
        bench, {"url": f"http://me:hunter2@{host}/status/404?key=hunter2", "auth": {"token": "hunter2"}}
    )
    assert "hunter2" not in error.message
    with pytest.raises(ToolError) as caught:
        bench.run("http", {"url": url, "auth": {"token": "hunter2\nX: y"}})
    assert "hunter2" not in caught.value.message


def test_redirects(bench: Any, url: str, server: ThreadingHTTPServer) -> None:
    there = {"url": f"{url}/redirect/{server.server_port}/there"}
    auth = {"type": "api_key", "key": "k"}
    data = seen(bench, {**there, "auth": auth})
    assert data["path"] == "/there"
    assert data["headers"]["host"] == f"localhost:{server.server_port}"
    assert "x-api-key" not in data["headers"], "a secret goes to its own origin only"
    assert bench.run("http", {**there, "follow_redirects": False})["status_code"] == 302
    assert error_of(bench, {"url": f"{url}/loop"}).kind == "client_error"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://2852039166/",
    ],
)
def test_metadata_services_are_refused(bench: Any, url: str) -> None:
    error = error_of(bench, {"url": url})
    assert error.kind == "config"
    assert "metadata" in error.message


def test_a_redirect_to_a_metadata_service_is_refused(bench: Any, url: str) -> None:
    assert "metadata" in error_of(bench, {"url": f"{url}/away"}).message


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "8.8.8.8"])
def test_other_addresses_are_allowed(address: str) -> None:
    assert not forbidden(address)


@pytest.mark.parametrize(
    "address", ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1%eth0", "100.100.100.200"]
)
def test_wrapped_addresses_are_seen_through(address: str) -> None:
    assert forbidden(address)


@pytest.mark.parametrize(
    "config",
    [{}, {"url": ""}, {"url": "http://a", "json": 1, "form": {}}, {"url": "http://a", "method": "GET /"}],
)
def test_wrong_fields_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpConfig.model_validate(config)
