"""The calls of an execution, gathered from its log: what ran where, and how each ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from portcall.client.port import Client
from portcall.model.event import CallDone, CallLog, CallParked, CommandIssued, Event
from portcall.model.outcome import Handle


@dataclass(slots=True)
class Call:
    issued: CommandIssued
    handle: Handle | None = None
    done: CallDone | None = None
    log: str = ""
    """The end of its output, as the log knows it."""

    @property
    def name(self) -> str:
        """`train`, `train[3]` in a loop, `train[3] attempt 2` when repeated."""
        iteration = "" if self.issued.iteration is None else f"[{self.issued.iteration}]"
        attempt = f" attempt {self.issued.attempt}" if self.issued.attempt > 1 else ""
        run = f" run {self.issued.run}" if self.issued.run > 1 else ""
        return f"{self.issued.step}{iteration}{run}{attempt}"


def calls_of(events: Iterable[Event]) -> dict[str, Call]:
    """The calls by id, in the order in which they were issued."""
    calls: dict[str, Call] = {}
    for event in events:
        take(calls, event)
    return calls


def take(calls: dict[str, Call], event: Event) -> None:
    """Adds one more event to what is known."""
    if isinstance(event, CommandIssued):
        calls[event.call_id] = Call(event)
    elif isinstance(event, CallParked | CallDone | CallLog) and event.call_id in calls:
        call = calls[event.call_id]
        if isinstance(event, CallParked):
            call.handle = event.handle
            return
        if isinstance(event, CallDone):
            call.done = event
            call.handle = call.handle or (event.outcome.job if event.outcome else None)
        call.log = _log(event) or call.log


def _log(event: CallDone | CallLog) -> str:
    if event.log_tail:
        return event.log_tail
    outcome = event.outcome if isinstance(event, CallDone) else None
    return (outcome.log_tail if outcome else None) or ""


def log_tails(calls: dict[str, Call]) -> dict[str, str]:
    """For each step the end of the output of its last call that failed."""
    return {
        call.issued.step: call.log
        for call in calls.values()
        if call.done is not None and call.done.status == "error" and call.log
    }


async def all_events(client: Client, execution_id: str) -> list[Event]:
    """The whole log, read page by page."""
    events: list[Event] = []
    while page := await client.events(execution_id, after=events[-1].seq if events else 0):
        events.extend(page)
    return events
