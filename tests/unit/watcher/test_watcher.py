"""A whole watcher between a server and a runtime in memory, on a loop where waiting takes no time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portcall import ids
from portcall.errors import TooLargeError, UnavailableError
from portcall.model.api import OpenCall, StopRequest
from portcall.model.event import CallDone, CallProgress, Reported
from portcall.model.outcome import Evidence, Handle, outcome
from portcall.runtime.port import Observation
from portcall.testing.fake_client import FakeClient
from portcall.testing.fake_runtime import FakeRuntime
from portcall.testing.fast_loop import EPOCH, LoopClock, run_fast
from portcall.watcher.watcher import Watcher


def call_id(number: int) -> str:
    return ids.call_id("1", "s", 1, number, 0, 1, 1)


class World:
    """A server and a runtime that know of the same calls."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.client = FakeClient()
        self.runtime = FakeRuntime(self.clock)

    def parked(self, number: int, **fields: Any) -> str:
        """A call whose Job runs; the Job's name."""
        handle = self.runtime.add(call_id(number), f"job-{number}")
        self.open(number, handle, **fields)
        return handle.name

    def open(self, number: int, handle: Handle | None, **fields: Any) -> None:
        call = OpenCall(
            call_id=call_id(number),
            execution_id="1",
            step="s",
            handle=handle,
            parked_at=EPOCH - timedelta(hours=1),
            **fields,
        )
        self.client.park(call)

    def close(self, number: int) -> None:
        """Have the call ended by something else than its Job."""
        self.client.open.pop(call_id(number), None)
        self.client.done[call_id(number)] = CallDone(
            execution_id="1", at=EPOCH, call_id=call_id(number), status="cancelled"
        )

    def ends(self) -> list[CallDone]:
        return [event for event in self.client.posted if isinstance(event, CallDone)]

    @asynccontextmanager
    async def watched(self, **fields: Any) -> AsyncIterator[Watcher]:
        watcher = Watcher(self.client, self.runtime, clock=self.clock, time=self.clock.seconds, **fields)
        stop = asyncio.Event()
        task = asyncio.create_task(watcher.run(stop))
        await asyncio.sleep(1)
        try:
            yield watcher
        finally:
            began = asyncio.get_running_loop().time()
            stop.set()
            await task
            assert asyncio.get_running_loop().time() - began < 1


def test_an_end_is_delivered_at_once_and_its_job_released() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        async with world.watched():
            world.runtime.end(name)
            await asyncio.sleep(0.1)
            done = world.client.done[call_id(1)]
            assert (done.status, done.claim) == ("success", 0)
            assert done.event_id == ids.event_id(call_id(1), "call.done")
            assert world.runtime.held == []
            await asyncio.sleep(300)
        assert len(world.ends()) == 1
        assert world.runtime.released == {name: 1}

    run_fast(main())


@pytest.mark.parametrize(
    ("state", "status", "retryable"),
    [("failed_oom", "error", False), ("failed_evicted", "error", True), ("cancelled", "cancelled", False)],
)
def test_the_outcome_decides_the_status(state: Any, status: str, retryable: bool) -> None:  # noqa: FBT001 - a row
    async def main() -> CallDone:
        world = World()
        name = world.parked(1)
        async with world.watched():
            world.runtime.end(name, state)
            await asyncio.sleep(1)
        return world.client.done[call_id(1)]

    done = run_fast(main())
    assert done.error is not None
    assert (done.status, done.error.kind, done.error.retryable, done.error.step) == (
        status,
        state,
        retryable,
        "s",
    )
    assert done.outcome is not None
    assert done.data["terminal_state"] == state


def test_an_end_that_was_not_notified_is_found_by_the_comparison() -> None:
    async def main() -> None:
        world = World()
        world.runtime.deaf = True
        name = world.parked(1)
        async with world.watched(comparison_seconds=30):
            world.runtime.end(name)
            await asyncio.sleep(31)
            assert call_id(1) in world.client.done
            assert world.runtime.held == []

    run_fast(main())


def test_jobs_that_ended_before_the_start_are_delivered() -> None:
    async def main() -> None:
        world = World()
        for number in range(250):
            world.runtime.end(world.parked(number))
        async with world.watched():
            assert len(world.client.done) == 250
            assert world.runtime.held == []
        assert max(world.client.batches) == 100

    run_fast(main())


def test_a_stream_that_ends_or_fails_is_opened_again() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        async with world.watched(comparison_seconds=10**6):
            for _ in range(3):
                world.runtime.interrupt()
                world.runtime.outages = 2
                await asyncio.sleep(30)
            world.runtime.end(name)
            await asyncio.sleep(1)
            assert call_id(1) in world.client.done

    run_fast(main())


def test_a_server_that_is_away_is_waited_for() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        async with world.watched():
            world.client.outages = 300
            world.runtime.end(name)
            await asyncio.sleep(3600)
            assert world.client.outages == 0
        assert world.client.verdicts["accepted"] >= 1
        assert world.runtime.held == []

    run_fast(main())


def test_a_release_that_failed_is_made_again() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)

        def fail(_: CallDone) -> None:
            world.runtime.outages = 1

        async with world.watched():
            world.client.on_done = fail
            world.runtime.end(name)
            await asyncio.sleep(31)
            assert world.runtime.held == []
        assert world.client.verdicts["duplicate"] == 1

    run_fast(main())


def test_phases_are_told_on_change_only_and_after_the_ends() -> None:
    async def main() -> World:
        world = World()
        names = [world.parked(number) for number in range(3)]
        async with world.watched():
            world.client.posted.clear()
            world.runtime.move(names[0], "pulling")
            world.runtime.move(names[0], "pulled")
            world.runtime.end(names[1])
            await asyncio.sleep(1)
            for _ in range(5):
                world.runtime.notify(names[0])
            await asyncio.sleep(100)
        return world

    posted = run_fast(main()).client.posted
    assert [type(event) for event in posted] == [CallDone, CallProgress]
    progress = posted[1]
    assert isinstance(progress, CallProgress)
    assert progress.phase == "pulled"
    assert progress.event_id == ids.event_id(call_id(0), "call.progress/pulled")


def test_a_late_phase_does_not_take_the_place_of_an_end() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        started = world.runtime.jobs[name]
        async with world.watched() as watcher:
            world.client.posted.clear()
            world.client.outages = 2
            world.runtime.move(name, "waiting")
            world.runtime.end(name)
            await asyncio.sleep(0.05)
            watcher.delivery.put(started)
            watcher.delivery.put(msgspec.structs.replace(started, phase="waiting"))
            await asyncio.sleep(10)
        assert [type(event) for event in world.client.posted] == [CallDone]

    run_fast(main())


def test_a_job_that_nobody_knows_is_kept_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        handle = world.runtime.add(call_id(1), "stranger")
        async with world.watched():
            world.runtime.end(handle.name)
            await asyncio.sleep(200)
            assert world.runtime.held == ["stranger"]
            world.open(1, None)  # the store came back whole
            await asyncio.sleep(31)
            assert world.runtime.held == []

    with caplog.at_level(logging.WARNING, "portcall.watcher"):
        run_fast(main())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "stranger" in caplog.text


def test_a_refused_outcome_is_posted_without_log_and_result_and_blocks_nothing() -> None:
    def refuse(event: Reported) -> str:
        return "too large" if isinstance(event, CallDone) and event.outcome and event.outcome.result else ""

    async def main() -> World:
        world = World()
        world.client.refuse = refuse
        names = [world.parked(number) for number in range(3)]
        full = outcome("succeeded", evidence=Evidence(level="full"), result={"n": 1}, log_tail="x")
        async with world.watched():
            for name in names:
                world.runtime.end(name, end=full if name == names[1] else None)
            await asyncio.sleep(1)
            assert world.runtime.held == []
        return world

    done = run_fast(main()).client.done
    assert [done[call_id(n)].status for n in range(3)] == ["success", "error", "success"]
    refused = done[call_id(1)]
    assert refused.outcome is not None
    assert (refused.outcome.state, refused.outcome.log_tail) == ("failed_result", None)


def test_what_is_always_refused_is_kept_and_asked_again_at_the_comparison() -> None:
    async def main() -> None:
        world = World()
        names = [world.parked(number) for number in range(2)]
        world.client.refuse = lambda event: "no" if event.call_id == call_id(0) else ""
        async with world.watched(comparison_seconds=30):
            for name in names:
                world.runtime.end(name)
            await asyncio.sleep(1)
            assert world.runtime.held == [names[0]]
            assert len(world.ends()) == 3
            await asyncio.sleep(30)
            assert len(world.ends()) == 5

    run_fast(main())


def test_a_batch_that_is_refused_whole_is_posted_one_by_one() -> None:
    async def main() -> None:
        world = World()
        real = world.client.report

        async def report(events: list[Reported], claim: Any = None) -> Any:
            if any(isinstance(e, CallDone) and e.outcome and e.outcome.log_tail for e in events):
                raise TooLargeError("The request is larger than 8 MiB.")
            return await real(events, claim)

        world.client.report = report  # type: ignore[method-assign] # a server with a bound
        full = outcome("succeeded", evidence=Evidence(level="full"), log_tail="x")
        for number in range(5):
            world.runtime.end(world.parked(number), end=full if number == 2 else None)
        async with world.watched():
            assert len(world.client.done) == 5
            assert {done.status for done in world.client.done.values()} == {"success"}
            assert world.runtime.held == []

    run_fast(main())


def test_the_server_reaches_a_job_to_stop_at_once() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        async with world.watched(comparison_seconds=10**6):
            await asyncio.sleep(100)
            job = world.runtime.jobs[name]
            world.client.ask_to_stop(
                StopRequest(call_id=job.call_id, execution_id="1", handle=job.handle, reason="cancel")
            )
            await asyncio.sleep(0.1)
            assert world.client.done[call_id(1)].status == "cancelled"
        assert world.runtime.stopped == [(name, "cancel")]

    run_fast(main())


def test_a_stop_that_was_missed_is_made_by_the_comparison() -> None:
    async def main() -> None:
        world = World()
        late, cancelled = world.parked(1, overdue=True), world.parked(2, stop="cancel")
        async with world.watched():
            assert sorted(world.runtime.stopped) == [(late, "deadline"), (cancelled, "cancel")]
            assert world.client.done[call_id(1)].status == "error"
            assert world.client.done[call_id(2)].status == "cancelled"

    run_fast(main())


def test_a_job_whose_call_is_closed_is_stopped_and_released() -> None:
    async def main() -> None:
        world = World()
        runs, ended = world.parked(1), world.parked(2)
        world.runtime.end(ended)
        world.close(1)
        world.close(2)
        async with world.watched():
            await asyncio.sleep(31)
            assert world.runtime.stopped == [(runs, "cancel")]
            assert world.runtime.held == []
        assert world.client.verdicts["accepted"] == 0

    run_fast(main())


def test_an_outcome_that_an_older_store_has_forgotten_is_posted_again() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        world.runtime.end(name)
        world.runtime.acknowledge(name)
        async with world.watched():
            assert world.client.done[call_id(1)].status == "success"

    run_fast(main())


def test_a_job_that_is_gone_is_lost_after_two_looks() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        async with world.watched(comparison_seconds=30, lost_confirm_seconds=30):
            world.runtime.vanish(name)
            await asyncio.sleep(58)
            assert not world.ends()
            await asyncio.sleep(5)
            (done,) = world.ends()
            assert done.outcome is not None
            assert done.outcome.state == "lost"
            await asyncio.sleep(100)
        assert not world.runtime.released

    run_fast(main())


def test_a_job_that_comes_back_is_not_lost() -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        kept = world.runtime.jobs[name]
        async with world.watched():
            world.runtime.vanish(name)
            await asyncio.sleep(40)
            world.runtime.jobs[name] = kept
            await asyncio.sleep(30)
            world.runtime.vanish(name)
            await asyncio.sleep(35)
            assert not world.ends()

    run_fast(main())


def test_nothing_is_judged_on_another_control_plane(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        world.runtime.vanish(name)
        world.runtime.cluster = "fake:2"
        async with world.watched():
            await asyncio.sleep(1000)
        assert not world.ends()

    run_fast(main())
    assert "fake:2" in caplog.text
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


def test_when_many_vanish_none_is_judged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        names = [world.parked(number) for number in range(8)]
        async with world.watched():
            for name in names[:6]:
                world.runtime.vanish(name)
            await asyncio.sleep(1000)
            assert not world.ends()
            asked = world.runtime.requests["get"]
            await asyncio.sleep(100)
            assert world.runtime.requests["get"] > asked

    run_fast(main())
    assert "6 of 8 Jobs" in caplog.text


def test_jobs_of_another_installation_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        handle = world.runtime.add(call_id(1), "theirs", execution_id="2")
        async with world.watched(known_executions=lambda execution: execution == "1"):
            world.runtime.end(handle.name)
            await asyncio.sleep(100)
        assert not world.client.posted
        assert world.runtime.held == ["theirs"]

    run_fast(main())
    assert not caplog.records


def test_acknowledged_jobs_are_swept() -> None:
    async def main() -> None:
        world = World()
        async with world.watched(retention_seconds=3600):
            await asyncio.sleep(1000)
        assert world.runtime.swept == [3600, 3600, 3600]

    run_fast(main())


def test_a_fault_in_one_loop_is_said_and_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        name = world.parked(1)
        real, faults = world.runtime.observe, iter([True])

        def observe() -> AsyncIterator[Observation]:
            if next(faults, False):
                raise AttributeError("a mistake")
            return real()

        world.runtime.observe = observe  # type: ignore[method-assign] # a runtime with a mistake
        async with world.watched(comparison_seconds=10**6):
            world.runtime.end(name)
            await asyncio.sleep(5)
            assert call_id(1) in world.client.done

    run_fast(main())
    assert "a mistake" in caplog.text


ACTIONS = st.one_of(
    st.tuples(st.just("end"), st.integers(0, 7)),
    st.tuples(st.just("notify"), st.integers(0, 7)),
    st.tuples(st.just("move"), st.integers(0, 7)),
    st.tuples(st.just("close"), st.integers(0, 7)),
    st.tuples(st.just("client outage"), st.integers(1, 30)),
    st.tuples(st.just("runtime outage"), st.integers(1, 10)),
    st.tuples(st.just("interrupt"), st.just(0)),
    st.tuples(st.just("deaf"), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.integers(1, 100)),
    st.tuples(st.just("restart"), st.just(0)),
)


def act(world: World, what: str, value: int) -> None:
    name = f"job-{value}"
    match what:
        case "end":
            world.runtime.end(name)
        case "notify":
            world.runtime.notify(name)
        case "move" if world.runtime.jobs[name].outcome is None:
            world.runtime.move(name, "waiting")
        case "close":
            if call_id(value) in world.client.open:
                world.close(value)
        case "client outage":
            world.client.outages += value
        case "runtime outage":
            world.runtime.outages += value
        case "interrupt":
            world.runtime.interrupt()
        case "deaf":
            world.runtime.deaf = bool(value)


@settings(deadline=None)
@given(st.lists(ACTIONS, max_size=40))
def test_every_end_arrives_once_and_every_job_is_released_in_any_order(actions: list[tuple[str, int]]) -> None:
    async def main() -> World:
        world = World()
        for number in range(8):
            world.parked(number)
        rest = iter(actions)
        again = True
        while again:
            again = False
            async with world.watched():
                for what, value in rest:
                    if what == "restart":
                        again = True
                        break
                    if what == "wait":
                        await asyncio.sleep(value)
                    else:
                        act(world, what, value)
                    await asyncio.sleep(0)
        world.client.outages = world.runtime.outages = 0
        async with world.watched():
            for name in list(world.runtime.held):
                world.runtime.end(name)
            await asyncio.sleep(100)
        return world

    world = run_fast(main())
    assert world.runtime.held == []
    assert not world.client.open
    accepted = [e for e in world.client.done.values() if e.event_id]
    assert world.client.verdicts["unknown"] == world.client.verdicts["refused"] == 0
    assert all(e.outcome is not None and e.outcome.state != "lost" for e in accepted)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), unique=True, max_size=10), st.integers(0, 20), st.booleans())
def test_lost_only_by_the_rule(gone: list[int], outages: int, deaf: bool) -> None:  # noqa: FBT001 - drawn
    async def main() -> World:
        world = World()
        world.runtime.deaf = deaf
        for number in range(10):
            world.parked(number)
        async with world.watched():
            for number in gone:
                world.runtime.vanish(f"job-{number}")
            world.runtime.outages = outages
            await asyncio.sleep(2000)
        return world

    lost = {done.call_id for done in run_fast(main()).ends()}
    assert lost == (set() if len(gone) > 5 else {call_id(number) for number in gone})


def test_an_unavailable_runtime_judges_nothing() -> None:
    async def main() -> None:
        world = World()
        world.parked(1)

        async def get(_: str) -> Observation | None:
            raise UnavailableError("The control plane is away.")

        world.runtime.vanish("job-1")
        world.runtime.get = get  # type: ignore[method-assign] # only asking by name fails
        async with world.watched():
            await asyncio.sleep(1000)
        assert not world.ends()

    run_fast(main())
