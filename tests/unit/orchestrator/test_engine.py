"""The engine on a real SQLite file: claims, fences, verdicts, timers, leases, other processes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from portcall.errors import ConflictError, NotFoundError, TooLargeError, UsageError
from portcall.model import event as e
from portcall.model.api import ClaimRequest, StartRequest
from portcall.orchestrator.engine import BATCH_LIMIT
from portcall.testing.bench import CONTAINER, ONE, TWO, Bench, On


def test_a_report_brings_the_next_command_along(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=TWO))
        (first,) = await bench.claim()
        report = await bench.engine.report([bench.done(first)], ClaimRequest(worker_id="w1", slots=1))
        assert [c.step for c in report.commands] == ["end"]
        assert await bench.report(bench.done(report.commands[0])) == ["accepted"]
        assert await bench.status(execution) == "completed"

    on(work)


def test_starting_again_with_the_same_id_starts_nothing(on: On) -> None:
    async def work(bench: Bench) -> None:
        request = StartRequest(playbook=ONE, execution_id="77")
        assert [await bench.engine.start(request) for _ in range(2)] == ["77", "77"]
        assert len(await bench.claim()) == 1

    on(work)


@pytest.mark.parametrize("odd", ["x", "-1", "0", "9" * 19, "1" * 40, "\u0663"])
def test_an_id_that_cannot_be_one_is_refused(on: On, odd: str) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(UsageError, match="not a decimal number"):
            await bench.engine.start(StartRequest(playbook=ONE, execution_id=odd))
        with pytest.raises(NotFoundError):
            await bench.engine.execution(odd)

    on(work)


def test_the_workload_is_merged_deeply(on: On) -> None:
    async def work(bench: Bench) -> None:
        text = ONE.replace("workflow:", "workload: {a: {b: 1, c: 2}, d: 3}\nworkflow:")
        execution = await bench.engine.start(StartRequest(playbook=text, workload={"a": {"c": 9}}))
        assert (await bench.engine.execution(execution)).workload == {"a": {"b": 1, "c": 9}, "d": 3}

    on(work)


def test_posting_again_is_a_duplicate(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=TWO))
        (command,) = await bench.claim()
        assert await bench.report(bench.done(command), bench.done(command)) == ["accepted", "duplicate"]
        assert await bench.report(bench.done(command)) == ["duplicate"]
        log = await bench.engine.events(execution)
        assert sum(isinstance(x, e.CallDone) for x in log) == 1

    on(work)


def test_a_call_nobody_knows_is_unknown_and_blocks_nobody(on: On) -> None:
    async def work(bench: Bench) -> None:
        await bench.engine.start(StartRequest(playbook=ONE))
        (command,) = await bench.claim()
        strange = bench.done(command)
        strange.call_id = "0" * 32
        other = bench.done(command)
        other.execution_id = "123"
        assert await bench.report(strange, other, bench.done(command)) == ["unknown", "unknown", "accepted"]

    on(work)


@pytest.mark.parametrize("order", ["parked first", "done first"])
def test_the_order_of_arrival_does_not_matter(on: On, order: str) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=CONTAINER))
        (command,) = await bench.claim()
        facts: list[e.Reported] = [bench.parked(command), bench.seen(command, {"x": 1})]
        if order == "done first":
            facts.reverse()
        assert await bench.report(*facts) == ["accepted", "accepted"]
        assert await bench.report(*facts) == ["duplicate", "duplicate"]
        view = await bench.engine.execution(execution)
        assert (view.status, view.steps["start"].data) == ("completed", {"x": 1})
        assert await bench.engine.open_calls("process") == []

    on(work)


def test_a_parked_call_holds_no_command(on: On) -> None:
    async def work(bench: Bench) -> None:
        await bench.engine.start(StartRequest(playbook=CONTAINER))
        (command,) = await bench.claim()
        await bench.report(bench.parked(command))
        assert await bench.claim() == []
        (call,) = await bench.engine.open_calls("process")
        assert call.call_id == command.call_id
        assert call.handle is not None

    on(work)


def test_a_lease_that_ends_gives_the_work_to_another_and_fences_the_first(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=ONE))
        (first,) = await bench.claim()
        bench.clock.move(31)
        await bench.engine.tick()
        (second,) = await bench.claim(worker="w2")
        assert second.attempt == 2
        assert await bench.report(bench.done(first, "late")) == ["stale"]
        assert await bench.report(bench.done(second, "good", worker="w2")) == ["accepted"]
        view = await bench.engine.execution(execution)
        assert view.steps["start"].data == "good"
        log = await bench.engine.events(execution)
        assert [x.stale["data"] for x in log if isinstance(x, e.CallStale)] == ["late"]

    on(work)


def test_a_container_whose_worker_vanished_is_dispatched_under_the_same_call(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=CONTAINER))
        (first,) = await bench.claim()
        bench.clock.move(31)
        await bench.engine.tick()
        (second,) = await bench.claim(worker="w2")
        assert second.call_id == first.call_id
        assert second.claim > first.claim
        assert await bench.report(bench.parked(first)) == ["accepted"]
        assert await bench.report(bench.parked(second)) == ["duplicate"]
        bench.clock.move(31)
        await bench.engine.tick()
        assert await bench.claim() == []
        assert await bench.status(execution) == "running"

    on(work)


def test_a_heartbeat_keeps_the_lease_and_tells_what_is_lost(on: On) -> None:
    async def work(bench: Bench) -> None:
        await bench.engine.start(StartRequest(playbook=ONE))
        (command,) = await bench.claim()
        for _ in range(3):
            bench.clock.move(20)
            beat = await bench.engine.heartbeat("w1", {command.call_id: command.claim})
            assert (beat.stop, beat.lost) == ([], [])
            await bench.engine.tick()
        bench.clock.move(31)
        await bench.engine.tick()
        beat = await bench.engine.heartbeat("w1", {command.call_id: command.claim})
        assert beat.lost == [command.call_id]

    on(work)


def test_cancel_withdraws_what_nobody_has_begun(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=ONE))
        await bench.engine.cancel(execution)
        assert await bench.status(execution) == "cancelled"
        assert await bench.claim() == []
        with pytest.raises(ConflictError, match="already ended"):
            await bench.engine.cancel(execution)

    on(work)


def test_cancel_reaches_the_worker_by_its_heartbeat(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=ONE))
        (command,) = await bench.claim()
        await bench.engine.cancel(execution)
        beat = await bench.engine.heartbeat("w1", {command.call_id: command.claim})
        assert beat.stop == [command.call_id]
        stopped = bench.done(command)
        stopped.status = "cancelled"
        await bench.report(stopped)
        assert await bench.status(execution) == "cancelled"

    on(work)


@pytest.mark.parametrize("order", ["parked first", "cancelled first"])
def test_cancel_reaches_the_watcher_whenever_the_call_parks(on: On, order: str) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=CONTAINER))
        (command,) = await bench.claim()
        waiting = asyncio.create_task(bench.engine.stops("process", 0, 20))
        if order == "parked first":
            await bench.report(bench.parked(command))
        await bench.engine.cancel(execution)
        if order == "cancelled first":
            await bench.report(bench.parked(command))
        stops = await waiting
        assert [(s.call_id, s.reason) for s in stops.requests] == [(command.call_id, "cancel")]
        assert (await bench.engine.stops("process", stops.cursor, 0)).requests == []

    on(work)


def test_a_deferred_command_comes_back_when_its_time_has_come(on: On) -> None:
    async def work(bench: Bench) -> None:
        await bench.engine.start(StartRequest(playbook=CONTAINER))
        (command,) = await bench.claim()
        later = bench.clock.now() + timedelta(seconds=5)
        deferred = e.CommandDeferred(
            **bench.fact(command, f"command.deferred/{command.claim}"),
            reason="the registry is away",
            not_before=later,
            claim=command.claim,
        )
        assert await bench.report(deferred) == ["accepted"]
        assert await bench.claim() == []
        bench.clock.move(5)
        (again,) = await bench.claim()
        assert again.call_id == command.call_id

    on(work)


def test_a_timer_ends_a_wait_also_after_a_restart(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=ONE))
        (command,) = await bench.claim()
        resume_at = bench.clock.now() + timedelta(hours=1)
        await bench.report(bench.parked(command, runtime="timer", resume_at=resume_at))
        await bench.engine.close()
        bench.engine = bench.open()
        await bench.engine.tick()
        assert await bench.status(execution) == "running"
        bench.clock.move(3600)
        await bench.engine.tick()
        assert await bench.status(execution) == "completed"

    on(work)


def test_a_deadline_asks_the_watcher_and_invents_no_outcome(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=CONTAINER))
        (command,) = await bench.claim()
        await bench.report(bench.parked(command, timeout_seconds=60.0))
        started = e.CallProgress(**bench.fact(command, "call.progress/started"), phase="started")
        assert await bench.report(started) == ["accepted"]
        bench.clock.move(3600)
        await bench.engine.tick()
        (call,) = await bench.engine.open_calls("process")
        assert call.overdue
        assert call.stop == "deadline"
        assert await bench.status(execution) == "running"
        assert await bench.report(bench.seen(command)) == ["accepted"]
        assert await bench.status(execution) == "completed"

    on(work)


def test_a_waiting_claim_is_told_at_once(on: On) -> None:
    async def work(bench: Bench) -> None:
        waiting = asyncio.create_task(bench.claim(wait=60))
        await asyncio.sleep(0)
        await bench.engine.start(StartRequest(playbook=ONE))
        async with asyncio.timeout(4):
            assert len(await waiting) == 1

    on(work)


def test_another_process_may_write_between(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=TWO))
        (command,) = await bench.claim()
        other = bench.open()
        answers = await other.report([bench.done(command)])
        assert answers.answers[0].verdict == "accepted"
        await other.close()
        (second,) = await bench.claim()
        assert second.step == "end"
        await bench.report(bench.done(second))
        assert await bench.status(execution) == "completed"
        assert (await bench.engine.replay(execution)).differences == []

    on(work)


def test_an_owner_claims_only_its_own_and_may_take_over(on: On) -> None:
    async def work(bench: Bench) -> None:
        one = bench.open("one")
        execution = await one.start(StartRequest(playbook=ONE))
        (held,) = await one.claim(ClaimRequest(worker_id="one", slots=1))
        await one.close()
        two = bench.open("two")
        assert await two.claim(ClaimRequest(worker_id="two", slots=1)) == []
        await two.adopt(execution)
        (again,) = await two.claim(ClaimRequest(worker_id="two", slots=1))
        assert again.attempt == held.attempt + 1
        await two.close()

    on(work)


def test_a_batch_is_bounded(on: On) -> None:
    async def work(bench: Bench) -> None:
        await bench.engine.start(StartRequest(playbook=ONE))
        (command,) = await bench.claim()
        with pytest.raises(TooLargeError):
            await bench.engine.report([bench.done(command)] * (BATCH_LIMIT + 1))

    on(work)


def test_no_such_execution_is_said(on: On) -> None:
    async def work(bench: Bench) -> None:
        for odd in ("5", "x", "", "9" * 40):
            with pytest.raises(NotFoundError, match="no execution"):
                await bench.engine.execution(odd)

    on(work)


def test_a_registered_playbook_starts_by_its_path(on: On) -> None:
    async def work(bench: Bench) -> None:
        assert await bench.engine.register(ONE, "one.yaml") == "t"
        await bench.engine.start(StartRequest(path="t"))
        with pytest.raises(NotFoundError, match="registered: t"):
            await bench.engine.start(StartRequest(path="other"))

    on(work)


def test_replay_finds_rows_that_are_not_what_the_log_says(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=CONTAINER))
        (command,) = await bench.claim()
        await bench.report(bench.parked(command))
        assert (await bench.engine.replay(execution)).same
        await bench.engine._store.write(lambda tx: tx.run("close_call", call_id=command.call_id))
        report = await bench.engine.replay(execution)
        assert report.differences == [f"call {command.call_id} is parked by the log, and closed by its row"]

    on(work)


def test_known_calls_tells_open_closed_and_unknown(on: On) -> None:
    async def work(bench: Bench) -> None:
        await bench.engine.start(StartRequest(playbook=TWO))
        (first,) = await bench.claim()
        await bench.report(bench.done(first))
        (second,) = await bench.claim()
        known = await bench.engine.known_calls([first.call_id, second.call_id, "no"])
        assert known == {first.call_id: "closed", second.call_id: "open", "no": "unknown"}

    on(work)
