"""How a credential becomes part of an HTTP request."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from portcall.errors import NotFoundError, ToolError
from portcall.tool.port import Services


@dataclass(frozen=True, slots=True)
class Secrets:
    """What to add to a request. The values stay out of every message."""

    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


def look_up(auth: str | Mapping[str, Any] | None, services: Services) -> Mapping[str, Any] | None:
    """The credential's fields: by its name, inline, or inline with more from one of that name.

    Raises `ToolError` of kind `auth` when there is no such credential.
    """
    if not auth:
        return None
    if isinstance(auth, str):
        return named(auth, services)
    alias = auth.get("credential")
    own = {key: value for key, value in auth.items() if key != "credential"}
    return {**named(alias, services), **own} if isinstance(alias, str) and alias else own


def named(alias: str, services: Services) -> Mapping[str, Any]:
    """The fields of the credential of this name, those under `data` too."""
    if services.credential is None:
        raise ToolError(
            f"There is no credential {alias} here; give it with --credential {alias}=FILE.", kind="auth"
        )
    try:
        found = services.credential(alias)
    except NotFoundError as error:
        raise ToolError(error.message, kind="auth") from error
    except LookupError as error:
        raise ToolError(
            f"There is no credential {alias}; give it with --credential {alias}=FILE.", kind="auth"
        ) from error
    inner = found.get("data")
    return {**found, **inner} if isinstance(inner, Mapping) else found


def secrets_of(fields: Mapping[str, Any] | None) -> Secrets:
    """`type` is bearer, basic or api_key; without it, the fields tell. Raises `ToolError` of kind `auth`."""
    if fields is None:
        return Secrets()
    token = _first(fields, "token", "access_token", "bearer_token")
    kind = str(fields.get("type") or "").lower().replace("-", "_")
    if kind in ("bearer", "oauth2", "token") or (kind not in ("basic", "api_key", "apikey") and token):
        return Secrets({"authorization": f"Bearer {_needed(token, 'bearer', 'token')}"})
    user = _first(fields, "username", "user", "login")
    if kind == "basic" or (kind not in ("api_key", "apikey") and user):
        password = _first(fields, "password", "pass") or ""
        pair = f"{_needed(user, 'basic', 'username')}:{password}".encode()
        return Secrets({"authorization": f"Basic {base64.b64encode(pair).decode()}"})
    key = _needed(_first(fields, "api_key", "key", "value"), kind or "api_key", "key")
    if str(fields.get("in") or fields.get("location") or "header").lower() == "query":
        return Secrets(params={str(_first(fields, "param", "name") or "api_key"): key})
    return Secrets({str(_first(fields, "header", "name") or "X-API-Key").lower(): key})


def _first(fields: Mapping[str, Any], *names: str) -> str | None:
    return next((str(fields[name]) for name in names if fields.get(name) not in (None, "")), None)


def _needed(value: str | None, kind: str, name: str) -> str:
    if value is None:
        raise ToolError(f"The credential of type {kind} has no {name}; add it.", kind="auth")
    if any(character in value for character in "\r\n\0"):
        raise ToolError(f"The {name} of the credential holds a line break; remove it.", kind="auth")
    return value
