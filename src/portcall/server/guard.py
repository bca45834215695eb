"""Who may speak to the server.

Without a token it listens on loopback only. A browser on the same machine reaches loopback too, on
behalf of any page, so the Host header (DNS rebinding), the Origin and the content type are checked.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass

from starlette.datastructures import Headers

from portcall.errors import UnauthorizedError, UsageError

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_WRITABLE = frozenset({"application/json", "application/yaml", "application/x-yaml", "text/yaml"})
"""Types that no HTML form can send, so that a browser asks first (and is not answered)."""


def is_loopback(host: str) -> bool:
    """Of names only `localhost`: any other may resolve to anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_binding(host: str, token: str) -> None:
    """Refuse to be reachable by others without a secret."""
    if not token and not is_loopback(host):
        raise UsageError(
            f"portcall would listen on {host or 'every address'} without a token, open to everyone who"
            " reaches it; set token_file (PORTCALL_TOKEN_FILE), or listen on 127.0.0.1."
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """The one place that decides who a request comes from; roles will be decided here."""

    token: str

    def check(self, method: str, headers: Headers) -> None:
        """Errors: `UnauthorizedError`, `UsageError`."""
        if self.token:
            self._check_token(headers.get("authorization", ""))
        else:
            _check_host(headers.get("host", ""))
            _check_origin(headers)
        if method == "POST":
            _check_type(headers.get("content-type", ""))

    def _check_token(self, given: str) -> None:
        scheme, _, token = given.partition(" ")
        same = hmac.compare_digest(token.strip().encode(), self.token.encode())
        if scheme.lower() != "bearer" or not same:
            said = "another token than the server's" if given else "no token"
            raise UnauthorizedError(
                f"The request carries {said}; give the server's as PORTCALL_TOKEN_FILE or PORTCALL_TOKEN."
            )


def _check_host(host: str) -> None:
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    if name.lower() not in _LOCAL_NAMES:
        raise UsageError(
            "Without a token the server answers only to localhost, 127.0.0.1 and [::1] as its name;"
            " use one of these, or set a token."
        )


def _check_origin(headers: Headers) -> None:
    origin = headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != headers.get("host", "")
    if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise UsageError("A page of another site may not use this server; set a token and send it.")


def _check_type(content_type: str) -> None:
    if content_type.partition(";")[0].strip().lower() not in _WRITABLE:
        raise UsageError(
            "A request that changes something has the content type application/json,"
            " or application/yaml for a playbook."
        )
