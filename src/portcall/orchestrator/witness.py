"""What a committed transaction is counted as, and says in the log: nothing of one that was taken back."""

from __future__ import annotations

import logging
from typing import NamedTuple

from portcall.model import event as e
from portcall.observe import metrics, tracing

log = logging.getLogger("portcall.engine")


class Seen(NamedTuple):
    """The facts of one decision, in order."""

    events: list[e.Event]
    kind: str
    """Of the tool whose call the first fact is about; empty: it was not open."""
    traceparent: str
    size: int
    """Bytes of the facts, as written."""


def listens() -> bool:
    """Whether anybody wants to know."""
    return metrics.enabled() or log.isEnabledFor(logging.INFO)


def tell(seen: list[Seen]) -> None:
    for each in seen:
        metrics.count("log_facts", len(each.events))
        metrics.count("log_bytes", each.size)
        for event in each.events:
            _tell(event, each)


def _tell(event: e.Event, seen: Seen) -> None:
    match event:
        case e.ExecutionStarted():
            metrics.count("executions_started")
            _say(event.execution_id, seen, "execution started", path=event.path)
        case e.ExecutionEnded():
            metrics.count("executions_ended", status=event.status)
            # The message may quote what a tool wrote; `portcall show` has it.
            error = {"error": event.error.kind, "step": event.error.step} if event.error else {}
            _say(event.execution_id, seen, f"execution {event.status}", **error)
        case e.CommandIssued():
            metrics.count("calls_issued", kind=event.kind)
            if event.cause:
                metrics.count("calls_repeated", cause=event.cause.partition(":")[0])
        case e.CommandDeferred():
            metrics.count("commands_deferred")
        case e.CommandExpired():
            metrics.count("leases_expired")
        case e.CallParked():
            metrics.count("calls_parked", runtime=event.handle.runtime)
        case e.CallOverdue():
            metrics.count("calls_late")
        case e.CallDone():
            _ended(event, seen.kind)
        case _:
            pass


def _ended(event: e.CallDone, kind: str) -> None:
    metrics.count("calls_ended", kind=kind, status=event.status)
    if event.outcome is not None:
        metrics.count("containers_ended", state=event.outcome.state)


def _say(execution_id: str, seen: Seen, message: str, **more: str | None) -> None:
    about = {"execution_id": execution_id} | more | tracing.ids(seen.traceparent)
    log.info("%s", message, extra=about)
