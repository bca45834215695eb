"""The second path to every outcome: the server's open calls beside the runtime's Jobs.

Pure: what is there goes in, what to do comes out. The open calls must be read before the Jobs, so
that a Job which is missing was there to be seen.

`lost` is the last resort. A call is judged so only when it was parked with a uid before the
comparison began, on this same control plane, and its Job, asked for by name, was not there (or was
another one) twice, some time apart. If many vanish at once the mistake is more likely on this side
(another cluster, a restored copy, an emptied folder): then none is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from portcall.model.api import OpenCall
from portcall.model.outcome import Evidence, Handle, Timings, outcome
from portcall.runtime.port import Observation, StopReason

MANY = 5
"""More than these, and more than half of the parked calls, vanishing at once are not believed."""


@dataclass(slots=True)
class Comparison:
    """What a comparison found."""

    seen: list[Observation] = field(default_factory=list)
    """Jobs of open calls, ended or not: to deliver."""
    stop: list[tuple[Observation, StopReason]] = field(default_factory=list)
    ask: list[OpenCall] = field(default_factory=list)
    """Parked calls whose Job is not among the Jobs: to ask for by name."""
    strange: list[Observation] = field(default_factory=list)
    """Jobs without an open call: to ask the server about."""
    elsewhere: list[OpenCall] = field(default_factory=list)
    """Calls parked on another control plane than this one: nothing is judged."""


def compare(
    calls: Sequence[OpenCall], jobs: Sequence[Observation], *, identity: str, began: datetime
) -> Comparison:
    """`calls`: of this runtime, read before `jobs`. `began`: when the comparison began."""
    found = Comparison()
    by_call = {call.call_id: call for call in calls}
    confirmed: set[str] = set()
    for job in jobs:
        call = by_call.get(job.call_id)
        if call is None:
            found.strange.append(job)
        elif not _another(call.handle, job.handle):
            confirmed.add(call.call_id)
            found.seen.append(job)
            if job.outcome is None and (reason := _stop_reason(call)) is not None:
                found.stop.append((job, reason))
    for call in calls:
        if call.handle is None or call.call_id in confirmed:
            continue
        if call.handle.cluster != identity:
            found.elsewhere.append(call)
        elif call.handle.uid and call.parked_at is not None and call.parked_at < began:
            found.ask.append(call)
    return found


def _stop_reason(call: OpenCall) -> StopReason | None:
    return call.stop or ("deadline" if call.overdue else None)


def _another(parked: Handle | None, there: Handle) -> bool:
    """Whether the Job there is not the one that was parked."""
    return parked is not None and bool(parked.uid) and parked.uid != there.uid


@dataclass(frozen=True, slots=True)
class Suspect:
    """A call whose Job was not there when asked for."""

    uid: str
    since: datetime


@dataclass(slots=True)
class Judgement:
    """What asking by name has shown."""

    seen: list[Observation] = field(default_factory=list)
    """There after all, or acknowledged while the call is still open: to deliver."""
    stop: list[tuple[Observation, StopReason]] = field(default_factory=list)
    lost: list[Observation] = field(default_factory=list)
    suspects: dict[str, Suspect] = field(default_factory=dict)
    vanished: int = 0
    """More than are believed: none was judged. 0 otherwise."""


def judge(
    asked: Sequence[tuple[OpenCall, Observation | None]],
    suspects: Mapping[str, Suspect],
    *,
    parked: int,
    now: datetime,
    confirm_seconds: float,
) -> Judgement:
    """`asked`: each call with what the runtime has under its Job's name. `parked`: how many calls are."""
    judged = Judgement()
    gone: list[tuple[OpenCall, Handle]] = []
    for call, job in asked:
        if call.handle is None:
            continue
        if job is None or _another(call.handle, job.handle):
            gone.append((call, call.handle))
            continue
        judged.seen.append(job)
        if job.outcome is None and (reason := _stop_reason(call)) is not None:
            judged.stop.append((job, reason))
    if len(gone) > MANY and len(gone) * 2 > parked:
        judged.vanished = len(gone)
        return judged
    for call, handle in gone:
        before = suspects.get(call.call_id)
        if before is None or before.uid != handle.uid:
            judged.suspects[call.call_id] = Suspect(handle.uid, now)
        elif (now - before.since).total_seconds() >= confirm_seconds:
            judged.lost.append(lost(call, handle, before.since, now))
        else:
            judged.suspects[call.call_id] = before
    return judged


def lost(call: OpenCall, handle: Handle, since: datetime, now: datetime) -> Observation:
    """The end of a call whose Job is gone without a trace. It counts as started: nothing proves otherwise."""
    apart = round((now - since).total_seconds())
    return Observation(
        handle=handle,
        call_id=call.call_id,
        execution_id=call.execution_id,
        step=call.step,
        phase="finished",
        outcome=outcome(
            "lost",
            started=True,
            reason="JobGone",
            message=(
                f"The Job {handle.name} is gone and how it ended is not known: somebody removed it. "
                "See what it has done before running the step again."
            ),
            evidence=Evidence(level="none", read=[f"the Job by name: not there, twice, {apart} s apart"]),
            timings=Timings(observed=now),
            job=handle,
        ),
    )
