"""One command, from its templates to the fact that is reported.

Whatever a tool does, the result is exactly one fact: never an exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ValidationError

from portcall.clock import Clock
from portcall.errors import ExpressionError, PortcallError, RejectedError, ToolError, UnavailableError
from portcall.expression import render
from portcall.ids import event_id
from portcall.model.api import Command
from portcall.model.ending import done_by
from portcall.model.event import CallDone, CallParked, CommandDeferred, Error, Reported, encode
from portcall.observe import tracing
from portcall.observe.secrets import redact
from portcall.tool.port import Call, Deferred, Done, Parked, Services, ToolKind
from portcall.worker.keychain import Keychain
from portcall.worker.log_tail import LogTail

log = logging.getLogger("portcall.worker")


@dataclass(frozen=True, slots=True)
class Fact:
    """What came of a command, ready to post. `size` in bytes, as encoded."""

    event: Reported
    size: int


@dataclass(frozen=True, slots=True)
class Executor:
    """Runs commands for one worker."""

    kinds: Mapping[str, ToolKind]
    worker_id: str
    clock: Clock

    async def run(self, command: Command, services: Services, output: LogTail) -> Fact:
        """Run the command. Only a cancellation from outside comes through as an exception."""
        try:
            event = await self._attempt(command, services, output)
        except ToolError as error:
            stopped = error.kind == "cancelled" and services.cancelled.is_set()
            event = self.failed(
                command,
                _error(command, error),
                error.data,
                output.text(),
                "cancelled" if stopped else "error",
            )
        except asyncio.CancelledError:
            raise
        except (Exception, SystemExit) as error:  # whatever a tool raises ends its call only
            log.debug("The tool failed unexpectedly", exc_info=error, extra=where(command))
            event = self.failed(command, _unexpected(command, error), None, output.text())
        return self.weigh(command, event)

    async def _attempt(self, command: Command, services: Services, output: LogTail) -> Reported:
        kind = self._kind(command)
        call = prepare(command, kind, services)
        result = await kind.start(call, services)
        match result:
            case Done():
                return self._done(command, result, output.text())
            case Parked():
                return CallParked(
                    **self._stamp(command, "call.parked"),
                    handle=result.handle,
                    resume_at=result.resume_at,
                    timeout_seconds=result.timeout_seconds,
                )
            case Deferred():
                return self.deferred(command, result.reason, result.seconds)
        raise ToolError(
            f"The tool kind {command.kind} returned a {type(result).__name__}; it must return Done, Parked or "
            "Deferred."
        )

    def _kind(self, command: Command) -> ToolKind:
        try:
            return self.kinds[command.kind]
        except KeyError:
            raise ToolError(
                f"Step {command.step}: this worker knows no tool kind '{command.kind}'; "
                "install the package that brings it where the worker runs.",
                kind="config",
            ) from None

    def _done(self, command: Command, result: Done, log_tail: str | None) -> CallDone:
        if result.outcome is not None:
            return done_by(
                result.outcome,
                call_id=command.call_id,
                execution_id=command.execution_id,
                at=self.clock.now(),
                step=command.step,
                data=result.data,
                log_tail=log_tail,
                worker_id=self.worker_id,
                claim=command.claim,
            )
        if command.returns:
            check_returns(command, result.data)
        return CallDone(
            **self._stamp(command, "call.done"), status="success", data=result.data, log_tail=log_tail
        )

    def failed(
        self,
        command: Command,
        error: Error,
        data: Any = None,
        log_tail: str | None = None,
        status: Literal["error", "cancelled"] = "error",
    ) -> CallDone:
        return CallDone(
            **self._stamp(command, "call.done"),
            status=status,
            data=data,
            error=msgspec.structs.replace(error, message=redact(error.message)),
            log_tail=log_tail,
        )

    def deferred(self, command: Command, reason: str, seconds: float) -> CommandDeferred:
        """The claim is part of the id: a call may be deferred more than once."""
        now = self.clock.now()
        return CommandDeferred(
            execution_id=command.execution_id,
            at=now,
            event_id=event_id(command.call_id, f"command.deferred/{command.claim}"),
            call_id=command.call_id,
            reason=reason,
            not_before=now + timedelta(seconds=seconds),
            claim=command.claim,
        )

    def weigh(self, command: Command, event: Reported) -> Fact:
        """The event with its size; one that cannot be written as JSON becomes an error."""
        try:
            return Fact(event, len(encode(event)))
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            log.debug("The result is not JSON", exc_info=error, extra=where(command))
            message = f"Step {command.step}: the result of the {command.kind} tool is not JSON data: {error}"
            plain = self.failed(command, Error(kind="result", message=message, step=command.step))
            return Fact(plain, len(encode(plain)))

    def _stamp(self, command: Command, kind: str) -> dict[str, Any]:
        return {
            "execution_id": command.execution_id,
            "at": self.clock.now(),
            "event_id": event_id(command.call_id, kind),
            "call_id": command.call_id,
            "worker_id": self.worker_id,
            "claim": command.claim,
        }


def prepare(command: Command, kind: ToolKind, services: Services) -> Call:
    """Render the inputs, then the fields, which see the inputs by name and as `input`; check both."""
    keychain = Keychain(services)
    inputs = _render_each(
        command, command.input, {"keychain": keychain, **command.scope}, frozenset(), "input "
    )
    scope = {**command.scope, **inputs, "input": inputs} if inputs else command.scope
    if command.expects:
        _check_expects(command, scope)
    fields = _render_each(command, command.tool, {"keychain": keychain, **scope}, kind.raw, "")
    if keychain.failure is not None:
        raise keychain.failure
    return Call(
        call_id=command.call_id,
        execution_id=command.execution_id,
        step=command.step,
        run=command.run,
        iteration=command.iteration,
        position=command.position,
        entry=command.entry,
        attempt=command.attempt,
        kind=command.kind,
        playbook=command.playbook,
        config=_validate(command, kind.Config, fields),
        input=inputs,
        scope=scope,
        grown=command.grown,
        traceparent=tracing.current() or command.traceparent,
    )


def _render_each(
    command: Command, values: dict[str, Any], scope: Mapping[str, Any], raw: frozenset[str], what: str
) -> dict[str, Any]:
    rendered = {}
    for name, value in values.items():
        try:
            rendered[name] = value if name in raw else render(value, scope)
        except ExpressionError as error:
            raise ToolError(f"{_at(command)}, {what}{name}: {error.message}", kind="config") from error
    return rendered


def _validate(command: Command, config: type[BaseModel], fields: dict[str, Any]) -> BaseModel:
    try:
        return config.model_validate(fields)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        said = "; ".join(_problem(command, fields, p["loc"], p["msg"]) for p in problems[:5])
        raise ToolError(f"{_at(command)}, {command.kind}: {said}", kind="config") from error


def _problem(command: Command, fields: Mapping[str, Any], place: tuple[int | str, ...], said: str) -> str:
    """What is wrong with a field; an expression that came to nothing is the likeliest cause."""
    name = ".".join(map(str, place)) or command.kind
    written = command.tool.get(str(place[0])) if place else None
    if isinstance(written, str) and fields.get(str(place[0]), "") is None:
        return f"{name} needs a value, and {written} is undefined or null"
    return f"{name}: {said}"


def _at(command: Command) -> str:
    return f"Step {command.step} (line {command.line})" if command.line else f"Step {command.step}"


def _check_expects(command: Command, scope: Mapping[str, Any]) -> None:
    missing = [name for name in command.expects if _reach(scope, name) is None]
    if missing:
        raise ToolError(
            f"Step {command.step}: the {command.kind} tool expects {', '.join(missing)}, which its input does "
            "not have.",
            kind="config",
        )


def check_returns(command: Command, data: Any) -> None:
    missing = [name for name in command.returns if _reach(data, name, _ABSENT) is _ABSENT]
    if missing:
        raise ToolError(
            f"Step {command.step}: the {command.kind} tool promises to return {', '.join(missing)}, which its "
            "result does not have.",
            kind="result",
            data=data,
        )


_ABSENT = object()


def _reach(data: Any, path: str, absent: Any = None) -> Any:
    for part in path.split("."):
        if not isinstance(data, Mapping) or part not in data:
            return absent
        data = data[part]
    return data


def _error(command: Command, error: ToolError) -> Error:
    return Error(
        kind=error.kind,
        message=error.message,
        retryable=error.retryable,
        code=error.code,
        status=error.status,
        step=command.step,
    )


def _unexpected(command: Command, error: BaseException) -> Error:
    match error:
        case UnavailableError():
            return Error(kind="connection", message=error.message, retryable=True, step=command.step)
        case RejectedError():
            return Error(kind="rejected", message=error.message, code=error.reason, step=command.step)
        case PortcallError():
            return Error(kind="exception", message=error.message, step=command.step)
    said = str(error).strip().partition("\n")[0][:500]
    message = f"The {command.kind} tool of step {command.step} failed unexpectedly: {type(error).__name__}"
    return Error(kind="exception", message=f"{message}: {said}" if said else f"{message}.", step=command.step)


def where(command: Command) -> dict[str, Any]:
    """The ids of a log line about this command."""
    return {
        "execution_id": command.execution_id,
        "step": command.step,
        "call_id": command.call_id,
        "attempt": command.attempt,
    }
