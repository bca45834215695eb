"""Connections of the http tool: each hop, redirects too, goes to an address that was checked first.

Imported only when a call is made, since httpx2 is.
"""

from __future__ import annotations

import functools
import ssl

import httpx2

from portcall.errors import ToolError
from portcall.tool.address import resolve


@functools.cache
def _verifying() -> ssl.SSLContext:
    """Reading the certificates of the machine takes tens of milliseconds: once."""
    return httpx2.create_ssl_context()


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Connects to the very address that was checked, so that DNS cannot answer twice differently.

    The headers named in `secrets` (in lower case) go to the first origin only.
    """

    def __init__(self, *, verify: bool, allow_metadata: bool, secrets: frozenset[str]) -> None:
        self._verify = verify
        self._allow_metadata = allow_metadata
        self._secrets = secrets
        self._origin: tuple[str, str, int | None] | None = None
        self._inner: dict[str, httpx2.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            raise httpx2.UnsupportedProtocol("only http and https", request=request)
        origin = (url.scheme, url.host, url.port)
        self._origin = self._origin or origin
        headers = request.headers.copy()
        if origin != self._origin:
            for name in self._secrets & set(headers):
                del headers[name]
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await resolve(url.host, port, allow_metadata=self._allow_metadata)
        failure: httpx2.TransportError | ToolError = ToolError("The host has no address.", kind="connection")
        for address in addresses:
            attempt = httpx2.Request(
                request.method,
                url.copy_with(host=address),
                headers=headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            try:
                return await self._to(url.scheme).handle_async_request(attempt)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        raise failure

    def _to(self, scheme: str) -> httpx2.AsyncHTTPTransport:
        if scheme not in self._inner:
            verify: ssl.SSLContext | bool = _verifying() if scheme == "https" and self._verify else False
            self._inner[scheme] = httpx2.AsyncHTTPTransport(verify=verify, trust_env=False)
        return self._inner[scheme]

    async def aclose(self) -> None:
        for inner in self._inner.values():
            await inner.aclose()
