"""From observations to the server: a bounded queue, batches, answers, and the release of the Job.

Handlers only put. What waits is one observation for each call: the newest, except that an end beats
everything. Ends go first; phases never delay them. What is not delivered stays held by the runtime,
so that whatever is dropped or fails here is found again by the comparison.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec

from portcall.backoff import Backoff
from portcall.client.port import Client
from portcall.clock import Clock
from portcall.errors import PortcallError, TooLargeError, UsageError
from portcall.ids import event_id
from portcall.model.api import Answer
from portcall.model.ending import done_by
from portcall.model.event import CallDone, CallProgress, Reported
from portcall.model.outcome import CLASS_OF, Outcome
from portcall.observe import metrics, tracing
from portcall.observe.secrets import redact
from portcall.runtime.port import Observation, Runtime

BATCH = 100
_REFUSALS = (TooLargeError, UsageError, TypeError, ValueError, OverflowError, msgspec.MsgspecError)
"""A request that fails so would fail again: something in it is wrong."""

log = logging.getLogger("portcall.watcher")


@dataclass(slots=True, eq=False)
class _Waiting:
    observation: Observation
    release: bool
    """Whether there is a Job to let go once the server has the outcome."""
    stripped: bool = False


class Delivery:
    """`limit`: how many calls may wait; beyond it new ones are left to the next comparison."""

    def __init__(self, client: Client, runtime: Runtime, clock: Clock, *, limit: int = 10_000) -> None:
        self._client = client
        self._runtime = runtime
        self._clock = clock
        self._limit = limit
        self._ended: dict[str, _Waiting] = {}
        self._phases: dict[str, Observation] = {}
        self._told: dict[str, str] = {}  # the last phase told, of calls that have not ended
        self._unknown: set[str] = set()
        self._singly = 0
        self._wake = asyncio.Event()
        self._backoff = Backoff()

    def __len__(self) -> int:
        return len(self._ended) + len(self._phases)

    def put(self, observation: Observation, *, release: bool = True) -> None:
        """Take an observation in; `release` False when there is no Job to let go."""
        call = observation.call_id
        if observation.outcome is not None:
            if call in self._ended or len(self._ended) < self._limit:
                self._ended[call] = _Waiting(observation, release)
            self._phases.pop(call, None)
        elif call in self._ended or observation.phase in {"finished", self._told.get(call)}:
            return
        elif call in self._phases or len(self._phases) < self._limit:
            self._phases[call] = observation
        self._wake.set()

    async def run(self) -> None:
        """Deliver without end; away is waited for, longer and longer."""
        while True:
            if not self:
                self._wake.clear()
                await self._wake.wait()
            elif self._ended:
                await self._deliver_ends()
            else:
                await self._deliver_phases()

    @property
    def failing(self) -> bool:
        """Whether the last request to the server has failed."""
        return not self._backoff.fresh

    # -- ends ---------------------------------------------------------------------------------

    async def _deliver_ends(self) -> None:
        size = 1 if self._singly else BATCH
        batch = [waiting for _, waiting in zip(range(size), self._ended.values(), strict=False)]
        with _spans([waiting.observation for waiting in batch]):
            answers = await self._post([self._event_of(waiting) for waiting in batch])
        if answers is None:
            return
        self._singly = max(0, self._singly - len(batch))
        by_id = {answer.event_id: answer for answer in answers}
        release: list[Observation] = []
        for waiting in batch:
            answer = by_id.get(event_id(waiting.observation.call_id, "call.done"))
            if answer is None:
                log.error("The server left an event without an answer", extra=_where(waiting.observation))
                self._leave(waiting)
            elif self._settle(waiting, answer) and waiting.release:
                release.append(waiting.observation)
        await asyncio.gather(*(self._release(observation) for observation in release))

    def _event_of(self, waiting: _Waiting) -> CallDone:
        seen = waiting.observation
        assert seen.outcome is not None  # noqa: S101 - for the type checker; `put` has looked
        ended = seen.outcome
        if ended.log_tail:
            ended = msgspec.structs.replace(ended, log_tail=redact(ended.log_tail))
        return done_by(
            ended,
            call_id=seen.call_id,
            execution_id=seen.execution_id,
            at=self._clock.now(),
            step=seen.step or None,
        )

    def _settle(self, waiting: _Waiting, answer: Answer) -> bool:
        """Take in the answer to an end; whether it acknowledges."""
        seen = waiting.observation
        metrics.count("watcher_delivered", verdict=answer.verdict)
        state = seen.outcome.state if seen.outcome else ""
        log.info("outcome %s: %s", state, answer.verdict, extra=_where(seen) | tracing.ids(seen.traceparent))
        match answer.verdict:
            case "accepted" | "duplicate" | "stale":
                self._leave(waiting)
                self._told.pop(seen.call_id, None)
                self._unknown.discard(seen.call_id)
                return True
            case "unknown":
                self._leave(waiting)
                self.warn_unknown(seen)
            case "refused":
                self._alarm_refused(waiting, answer.message)
        return False

    def _alarm_refused(self, waiting: _Waiting, reason: str) -> None:
        seen = waiting.observation
        metrics.count("watcher_alarms", kind="refused")
        log.error("The server refused the outcome of %s: %s", seen.handle.name, reason, extra=_where(seen))
        if waiting.stripped or seen.outcome is None:
            self._leave(waiting)
        elif self._ended.get(seen.call_id) is waiting:
            stripped = msgspec.structs.replace(seen, outcome=strip(seen.outcome, reason))
            self._ended[seen.call_id] = _Waiting(stripped, waiting.release, stripped=True)

    def warn_unknown(self, seen: Observation) -> None:
        """Say once for each Job that the server does not know its call; the Job is kept for a person."""
        if seen.call_id in self._unknown or len(self._unknown) >= self._limit:
            return
        self._unknown.add(seen.call_id)
        metrics.count("watcher_alarms", kind="unknown")
        log.warning(
            "The server knows no call for the Job %s; it is kept. If the store was restored from an older "
            "copy, look at the Job and remove it by hand.", seen.handle.name, extra=_where(seen),
        )  # fmt: skip

    def _leave(self, waiting: _Waiting) -> None:
        """Out of the queue, unless something newer of the call came in meanwhile."""
        if self._ended.get(waiting.observation.call_id) is waiting:
            del self._ended[waiting.observation.call_id]

    async def _release(self, seen: Observation) -> None:
        try:
            await self._runtime.release(seen.handle)
        except Exception as error:  # noqa: BLE001 - the next comparison finds the Job still held, and repeats
            log.warning("Releasing %s failed: %s", seen.handle.name, said(error), extra=_where(seen))

    # -- phases -------------------------------------------------------------------------------

    async def _deliver_phases(self) -> None:
        batch = [seen for _, seen in zip(range(BATCH), self._phases.values(), strict=False)]
        answers = await self._post([self._progress_of(seen) for seen in batch])
        if answers is None:
            return
        for seen in batch:
            if self._phases.get(seen.call_id) is seen:
                del self._phases[seen.call_id]
            if len(self._told) >= self._limit:
                self._told.pop(next(iter(self._told)))
            self._told[seen.call_id] = seen.phase

    def _progress_of(self, seen: Observation) -> CallProgress:
        assert seen.phase != "finished"  # noqa: S101 - for the type checker; `put` has looked
        return CallProgress(
            execution_id=seen.execution_id,
            at=self._clock.now(),
            event_id=event_id(seen.call_id, f"call.progress/{seen.phase}"),
            call_id=seen.call_id,
            phase=seen.phase,
            where=seen.where,
            message=seen.message,
            since=seen.since,
        )

    # -- both ---------------------------------------------------------------------------------

    async def _post(self, events: list[Reported]) -> list[Answer] | None:
        """The answers; None after a failure, which was waited for."""
        try:
            report = await self._client.report(events)
        except _REFUSALS as error:
            if len(events) > 1 and isinstance(events[0], CallDone):
                self._singly = len(events)
                return None
            return [Answer(event_id=event.event_id, verdict="refused", message=said(error)) for event in events]
        except Exception as error:  # noqa: BLE001 - the next comparison finds the Job still held, and repeats
            level = logging.WARNING if self._backoff.fresh else logging.DEBUG
            log.log(level, "Posting outcomes failed and is tried again until it succeeds: %s", said(error))
            await asyncio.sleep(self._backoff.next())
            return None
        self._backoff.reset()
        return report.answers


@contextmanager
def _spans(jobs: list[Observation]) -> Iterator[None]:
    """A span of each execution's trace, which names the trace of the request around several."""
    alone = len(jobs) == 1
    shared = "" if alone else tracing.new_traceparent()
    request = None if alone else tracing.ids(shared)["trace_id"]
    with ExitStack() as stack:
        for seen in jobs:
            state = seen.outcome.state if seen.outcome else ""
            about = {**_where(seen), "state": state, "request_trace_id": request}
            stack.enter_context(tracing.span("deliver", seen.traceparent, **about))
        if not alone:
            stack.enter_context(tracing.span("deliver several", shared, outcomes=len(jobs)))
        yield


def strip(outcome: Outcome, reason: str) -> Outcome:
    """Without log and result, as the last form that a server must take. A promised result that cannot be
    handed over is no success: later steps would read nothing.
    """
    bare = msgspec.structs.replace(outcome, log_tail=None, result=None)
    if outcome.state != "succeeded" or outcome.result is None:
        return msgspec.structs.replace(bare, warnings=[*outcome.warnings, "The server refused the log."])
    return msgspec.structs.replace(
        bare,
        state="failed_result",
        failure_class=CLASS_OF["failed_result"],
        message=f"The container ended well, but the server refused its result ({reason}); return less.",
    )


def said(error: Exception) -> str:
    """A foreign or own error as one line."""
    if isinstance(error, PortcallError):
        return error.message
    return f"{type(error).__name__}: {error}"


def _where(seen: Observation) -> dict[str, str]:
    return {"execution_id": seen.execution_id, "step": seen.step, "call_id": seen.call_id}
