"""The OpenAPI description, made from the endpoints and the types they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from portcall import __version__
from portcall.client.wire import EventsBody, Failure
from portcall.model.api import ClaimRequest
from portcall.model.event import Reported
from portcall.server.endpoint import Endpoint, NoQuery


class _EventsShown(msgspec.Struct, kw_only=True, omit_defaults=True, rename=None):
    """What `EventsBody` means: there the events are undecoded."""

    events: list[Reported] = []
    claim: ClaimRequest | None = None


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.0."""
    shown = [one for one in endpoints if one.path != "/api/openapi.json"]
    types = [kind for one in shown for kind in (one.query, _body(one), one.answer, Failure) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    found = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in shown:
        paths.setdefault(_plain(one.path), {})[one.method.lower()] = _operation(one, found, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "portcall", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _plain(path: str) -> str:
    """Without Starlette's converters, as in `{worker_id:path}`."""
    return re.sub(r":\w+}", "}", path)


def _body(one: Endpoint) -> Any:
    return _EventsShown if one.body is EventsBody else one.body


def _operation(one: Endpoint, found: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    plain = one.answer is str
    operation: dict[str, Any] = {
        "summary": one.summary,
        "operationId": re.sub(r"\W+", "_", f"{one.method.lower()}{_plain(one.path)}").strip("_"),
        "parameters": _in_path(one) + _in_query(one, components),
        "responses": {
            "200": _content(one.summary, "text/plain" if plain else "application/json", found[one.answer]),
            "default": _content("An error.", "application/json", found[Failure]),
        },
        "security": [] if one.open else [{"token": []}, {}],
    }
    if one.body is not None:
        media = "application/yaml" if one.body is str else "application/json"
        operation["requestBody"] = {"required": True, "content": {media: {"schema": found[_body(one)]}}}
    return operation


def _content(text: str, media: str, schema: Any) -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": schema}}}


def _in_path(one: Endpoint) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", _plain(one.path))
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _in_query(one: Endpoint, components: dict[str, Any]) -> list[dict[str, Any]]:
    if one.query is NoQuery:
        return []
    schema = components[one.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": shape}
        for name, shape in schema["properties"].items()
    ]
