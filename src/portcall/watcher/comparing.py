"""The comparison, carried out: asks both sides, lets `compare` and `judge` decide, and acts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from portcall.client.port import Client
from portcall.clock import Clock
from portcall.model.api import OpenCall
from portcall.observe import metrics
from portcall.runtime.port import Observation, Runtime, StopReason
from portcall.watcher.compare import Suspect, compare, judge
from portcall.watcher.deliver import Delivery, said

ASK_AT_ONCE = 32
INQUIRE = 1_000

log = logging.getLogger("portcall.watcher")


class Comparer:
    """Compares once at the start, then every `seconds`, sooner when a suspicion is due to be confirmed."""

    def __init__(  # noqa: PLR0913 - each is a part or a setting
        self,
        client: Client,
        runtime: Runtime,
        delivery: Delivery,
        clock: Clock,
        *,
        seconds: float,
        confirm_seconds: float,
        known_executions: Callable[[str], bool] | None,
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._delivery = delivery
        self._clock = clock
        self._seconds = seconds
        self._confirm_seconds = confirm_seconds
        self._known_executions = known_executions
        self._suspects: dict[str, Suspect] = {}
        self._alarmed: set[str] = set()
        self.completed = self.failing = False

    async def run(self) -> None:
        """Compare without end; a failed comparison is followed by another."""
        while True:
            try:
                await self.once()
                self.completed, self.failing = True, False
            except Exception as error:  # noqa: BLE001 - the next comparison is the repetition
                level = logging.DEBUG if self.failing else logging.WARNING
                log.log(level, "The comparison could not be completed: %s", said(error))
                metrics.count("watcher_comparisons", result="failed")
                self.failing = True
            await asyncio.sleep(self._pause(self._clock.now()))

    def _pause(self, now: datetime) -> float:
        """Seconds to the next comparison."""
        due = [self._confirm_seconds - (now - s.since).total_seconds() for s in self._suspects.values()]
        return max(min([self._seconds, *due]), min(self._seconds, 0.1))

    async def once(self) -> None:
        """One comparison. Open calls are read before the Jobs: see `compare`."""
        began = self._clock.now()
        identity = await self._runtime.identity()
        calls = await self._client.open_calls(self._runtime.name)
        jobs = [job for job in await self._runtime.list() if self._mine(job)]
        found = compare(calls, jobs, identity=identity, began=began)
        for job in found.seen:
            self._delivery.put(job)
        self._tell_elsewhere(found.elsewhere, identity)
        await self._stop(found.stop)
        await self._ask(found.ask, sum(call.handle is not None for call in calls))
        await self._inquire(found.strange)
        log.debug("%d open calls compared with %d Jobs", len(calls), len(jobs))
        metrics.count("watcher_comparisons", result="completed")
        metrics.observe_seconds("watcher_comparison_seconds", (self._clock.now() - began).total_seconds())

    def _mine(self, job: Observation) -> bool:
        return self._known_executions is None or self._known_executions(job.execution_id)

    async def _ask(self, calls: list[OpenCall], parked: int) -> None:
        """Ask for each missing Job by its name, and judge."""
        asked = [
            pair
            for first in range(0, len(calls), ASK_AT_ONCE)
            for pair in await asyncio.gather(*(self._get(call) for call in calls[first : first + ASK_AT_ONCE]))
        ]
        judged = judge(
            asked, self._suspects, parked=parked, now=self._clock.now(), confirm_seconds=self._confirm_seconds
        )
        self._suspects = judged.suspects
        for job in judged.seen:
            self._delivery.put(job)
        for end in judged.lost:
            metrics.count("watcher_lost")
            log.error("The Job %s is gone: its call is lost", end.handle.name, extra=_where(end))
            self._delivery.put(end, release=False)
        await self._stop(judged.stop)
        self._alarm(
            "vanished",
            judged.vanished > 0,
            f"{judged.vanished} of {parked} Jobs are not there any more; so many at once are not believed, and "
            f"none is judged. See whether the runtime {self._runtime.name} is the right one and whole.",
        )

    async def _get(self, call: OpenCall) -> tuple[OpenCall, Observation | None]:
        assert call.handle is not None  # noqa: S101 - for the type checker; only parked calls are asked for
        return call, await self._runtime.get(call.handle.name)

    async def _inquire(self, jobs: Sequence[Observation]) -> None:
        """Jobs without an open call: new ones, ones to clean up, and ones nobody knows."""
        for first in range(0, len(jobs), INQUIRE):
            some = jobs[first : first + INQUIRE]
            known = await self._client.known_calls([job.call_id for job in some])
            for job in some:
                match known.get(job.call_id, "unknown"):
                    case "open":
                        self._delivery.put(job)
                    case "closed" if job.outcome is None:
                        await self._stop([(job, "cancel")])
                    case "closed":  # the answer will be `duplicate` or `stale`, which lets the Job go
                        self._delivery.put(job)
                    case "unknown":
                        self._delivery.warn_unknown(job)

    async def _stop(self, jobs: list[tuple[Observation, StopReason]]) -> None:
        for job, reason in jobs:
            metrics.count("watcher_stop_requests", reason=reason)
            try:
                await self._runtime.stop(job.handle, reason)
            except Exception as error:  # noqa: BLE001 - the next comparison is the repetition
                log.warning("Stopping %s failed: %s", job.handle.name, said(error), extra=_where(job))

    def _tell_elsewhere(self, calls: list[OpenCall], identity: str) -> None:
        others = sorted({call.handle.cluster for call in calls if call.handle is not None})
        self._alarm(
            "identity",
            bool(calls),
            f"{len(calls)} open calls run on {', '.join(others[:3])}, but this watcher sees {identity}; "
            "nothing is judged for them. Start a watcher where they run.",
        )

    def _alarm(self, kind: str, on: bool, message: str) -> None:  # noqa: FBT001 - the state of the alarm
        """Counted each time, said when it begins."""
        if not on:
            self._alarmed.discard(kind)
            return
        metrics.count("watcher_alarms", kind=kind)
        log.log(logging.DEBUG if kind in self._alarmed else logging.ERROR, "%s", message)
        self._alarmed.add(kind)


def _where(job: Observation) -> dict[str, str]:
    return {"execution_id": job.execution_id, "step": job.step, "call_id": job.call_id}
