"""The JSON Schemas of what portcall says to others: events and the outcome of a container."""

from __future__ import annotations

from typing import Any

import msgspec

from portcall.model.event import Event
from portcall.model.outcome import Outcome

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def event_schema() -> dict[str, Any]:
    """Of one event of the log: a union told apart by `type`."""
    return _schema(Event, "portcall event", "One fact in the log of an execution.")


def outcome_schema() -> dict[str, Any]:
    """Of the structured end of a container, version 1."""
    return _schema(Outcome, "portcall outcome", "How a container ended; the contract of `call.done`.")


def _schema(kind: Any, title: str, description: str) -> dict[str, Any]:
    head = {"$schema": DIALECT, "title": title, "description": description}
    return head | msgspec.json.schema(kind)
