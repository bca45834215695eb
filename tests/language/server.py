"""A loopback HTTP server for playbooks under test; what it answers depends on the request alone."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    """`/echo` tells the request, `/status/<code>` answers with it, `/flaky/<key>?bad=2` fails so often,
    `/pages?page=1` are three pages, `/text`, `/silent` (never answers), `/moved` (to `/echo`).
    """

    server: Server

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that has given up
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _any(self) -> None:
        url = urlsplit(self.path)
        first, _, rest = url.path.strip("/").partition("/")
        query = {key: values if len(values) > 1 else values[0] for key, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        match first:
            case "echo":
                headers = {key.lower(): value for key, value in self.headers.items()}
                self._json(200, {"method": self.command, "query": query, "headers": headers, "body": body})
            case "status":
                self._json(int(rest), {"detail": "as asked"})
            case "flaky":
                self.server.asked[rest] += 1
                count = self.server.asked[rest]
                self._json(503 if count <= int(query["bad"]) else 200, {"count": count})
            case "pages":
                page = int(query["page"])
                self._json(200, {"items": [page * 10, page * 10 + 1], "has_more": page < 3})
            case "text":
                self._send(200, b"plain words", "text/plain")
            case "moved":
                self.send_response(302)
                self.send_header("location", "/echo")
                self.send_header("content-length", "0")
                self.end_headers()
            case "silent":
                self.server.over.wait(60)
            case _:
                self._json(404, {"detail": "no such page"})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _any  # noqa: N815 - the base's names

    def _json(self, status: int, data: Any) -> None:
        self._send(status, json.dumps(data).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
