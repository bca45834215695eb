"""The end of a call as its outcome tells it: the same for a worker, a watcher and the server."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from portcall.ids import event_id
from portcall.model.event import CallDone, Error
from portcall.model.outcome import Outcome, data_of


def status_of(outcome: Outcome) -> Literal["success", "error", "cancelled"]:
    """`output.status`; somebody else's deletion is an error, only portcall's own stop is `cancelled`."""
    if outcome.state == "succeeded":
        return "success"
    return "cancelled" if outcome.state == "cancelled" else "error"


def error_of(outcome: Outcome, step: str | None = None) -> Error | None:
    """`output.error`: its kind is the outcome's state."""
    if outcome.state == "succeeded":
        return None
    return Error(
        kind=outcome.state,
        message=outcome.message or f"The container ended as {outcome.state}.",
        retryable=outcome.failure_class == "infrastructure",
        code=outcome.exit_code,
        step=step,
    )


def done_by(  # noqa: PLR0913 - the fields of the fact
    outcome: Outcome,
    *,
    call_id: str,
    execution_id: str,
    at: datetime,
    step: str | None = None,
    data: Any = None,
    log_tail: str | None = None,
    worker_id: str = "",
    claim: int = 0,
) -> CallDone:
    """The `call.done` of this outcome; without `data` it is the outcome's own."""
    return CallDone(
        execution_id=execution_id,
        at=at,
        event_id=event_id(call_id, "call.done"),
        call_id=call_id,
        status=status_of(outcome),
        data=data_of(outcome) if data is None else data,
        error=error_of(outcome, step),
        outcome=outcome,
        log_tail=log_tail,
        worker_id=worker_id,
        claim=claim,
    )
