"""What travels between `client.http` and `server`: bodies, and errors as JSON.

An error is `{"error": {"kind", "message", "problems"?}}`; `kind` names a class of `portcall.errors`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from portcall import errors
from portcall.model.api import Answer, ClaimRequest, Command, ExecutionSummary, OpenCall
from portcall.model.event import Event

Known = Literal["open", "closed", "unknown"]

KINDS: dict[str, type[errors.PortcallError]] = {
    "usage": errors.UsageError,
    "not_found": errors.NotFoundError,
    "conflict": errors.ConflictError,
    "unauthorized": errors.UnauthorizedError,
    "too_large": errors.TooLargeError,
    "unavailable": errors.UnavailableError,
    "expression": errors.ExpressionError,
    "internal": errors.PortcallError,
}
_KIND_OF = {kind: name for name, kind in KINDS.items()}


class EventsBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Events stay undecoded here, so that a malformed one spoils only itself."""

    events: list[msgspec.Raw] = []
    claim: ClaimRequest | None = None


class CallsBody(msgspec.Struct, kw_only=True):
    call_ids: list[str]


class HeartbeatBody(msgspec.Struct, kw_only=True):
    """Call id to claim."""

    calls: dict[str, int]


class CancelBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    reason: str = ""


class Registered(msgspec.Struct, kw_only=True):
    path: str


class Started(msgspec.Struct, kw_only=True):
    execution_id: str


class Commands(msgspec.Struct, kw_only=True):
    commands: list[Command] = []


class OpenCalls(msgspec.Struct, kw_only=True):
    calls: list[OpenCall] = []


class KnownCalls(msgspec.Struct, kw_only=True):
    calls: dict[str, Known] = {}


class Executions(msgspec.Struct, kw_only=True):
    executions: list[ExecutionSummary] = []


class Events(msgspec.Struct, kw_only=True):
    events: list[Event] = []


class ErrorBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    kind: str
    message: str
    problems: Any = None
    """Of a playbook: a list of `Problem`."""


class Failure(msgspec.Struct, kw_only=True):
    error: ErrorBody


def to_failure(error: errors.PortcallError) -> Failure:
    """The nearest class of the tree that has a name on the wire."""
    kind = next(_KIND_OF[one] for one in type(error).__mro__ if one in _KIND_OF)
    problems = getattr(error, "problems", None)
    return Failure(error=ErrorBody(kind=kind, message=error.message, problems=problems))


def to_error(failure: Failure, status: int) -> errors.PortcallError:
    """The error that the server raised. What is wrong inside the server may pass: it is `UnavailableError`."""
    body = failure.error
    if body.problems is not None and (playbook := _playbook_error(body)) is not None:
        return playbook
    kind = KINDS.get(body.kind, errors.UsageError if status < 500 else errors.UnavailableError)  # noqa: PLR2004 - HTTP
    return errors.UnavailableError(body.message) if kind is errors.PortcallError else kind(body.message)


def _playbook_error(body: ErrorBody) -> errors.PortcallError | None:
    from portcall.playbook.problems import PlaybookError, Problem

    try:
        return PlaybookError(msgspec.convert(body.problems, list[Problem]))
    except (msgspec.ValidationError, IndexError):  # of another version; or none of them is an error
        return None


def refused(event_id: str, reason: str) -> Answer:
    return Answer(event_id=event_id, verdict="refused", message=reason)
