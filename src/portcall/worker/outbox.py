"""Facts on their way to the server: bounded, in order, until each one is answered."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

import msgspec

from portcall.model.api import Answer
from portcall.model.event import CallDone, Error, Reported, encode, type_of

BATCH_EVENTS = 100
BATCH_BYTES = 1_048_576

log = logging.getLogger("portcall.worker")


@dataclass(slots=True, eq=False)
class _Entry:
    event: Reported
    size: int
    step: str = ""
    reduced: bool = False


class Outbox:
    """`limit`: how many facts may wait before the worker should claim no more."""

    def __init__(self, limit: int = 10_000) -> None:
        self._entries: deque[_Entry] = deque()
        self._limit = limit
        self._singly = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        return len(self._entries) >= self._limit

    def add(self, event: Reported, size: int, step: str = "") -> None:
        """`size` in bytes, as encoded. `step` is for the log."""
        self._entries.append(_Entry(event, size, step))

    def batch(self) -> list[Reported]:
        """The oldest facts: at least one, within the bounds of a request."""
        if self._singly:
            return [self._entries[0].event]
        events: list[Reported] = []
        size = 0
        for entry in self._entries:
            size += entry.size
            if events and (size > BATCH_BYTES or len(events) == BATCH_EVENTS):
                break
            events.append(entry.event)
        return events

    def settle(self, count: int, answers: list[Answer]) -> list[Reported]:
        """Take in the answers to the first `count` facts; the ones that are over. The others stay first."""
        by_id = {answer.event_id: answer for answer in answers}
        sent = [self._entries.popleft() for _ in range(count)]
        over: list[Reported] = []
        again: list[_Entry] = []
        for entry in sent:
            answer = by_id.get(entry.event.event_id)
            if answer is None or (answer.verdict == "refused" and _reduce(entry, answer.message)):
                again.append(entry)
            else:
                _tell(entry, answer)
                over.append(entry.event)
        self._entries.extendleft(reversed(again))
        self._singly = max(0, self._singly - count)
        return over

    def refuse(self, count: int, reason: str) -> list[Reported]:
        """The whole request of the first `count` facts was refused: find the one, then reduce it."""
        if count > 1:
            self._singly = count
            return []
        event_id = self._entries[0].event.event_id
        return self.settle(1, [Answer(event_id=event_id, verdict="refused", message=reason)])


def _reduce(entry: _Entry, reason: str) -> bool:
    """Make a refused result an error that says so; False when there is nothing left to leave out."""
    event = entry.event
    if entry.reduced or not isinstance(event, CallDone):
        return False
    why = f"The result was refused: {reason or 'the server gave no reason'}"
    step = event.error.step if event.error else None
    entry.event = msgspec.structs.replace(
        event, status="error", data=None, outcome=None, log_tail=None, error=_refused(why, step)
    )
    entry.size, entry.reduced = len(encode(entry.event)), True
    log.error("%s", why, extra=_where(entry))
    return True


def _refused(why: str, step: str | None) -> Error:
    return Error(kind="result", message=why, step=step)


def _tell(entry: _Entry, answer: Answer) -> None:
    event = entry.event
    if answer.verdict in {"refused", "unknown"}:
        log.error(
            "The server answered %s to %s: %s", answer.verdict, type_of(event), answer.message,
            extra=_where(entry),
        )  # fmt: skip
    elif answer.verdict == "stale":
        log.info("The call had ended or gone elsewhere: %s was stale", type_of(event), extra=_where(entry))


def _where(entry: _Entry) -> dict[str, str]:
    event = entry.event
    return {"execution_id": event.execution_id, "step": entry.step, "call_id": event.call_id}
