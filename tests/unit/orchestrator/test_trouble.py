"""The engine when something goes wrong: facts in an odd order, faults, cancels in between, two processes."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from portcall import app
from portcall.errors import ConflictError, NotFoundError
from portcall.model import event as e
from portcall.model.api import ClaimRequest, StartRequest
from portcall.orchestrator import retry
from portcall.orchestrator.ingest import Effects
from portcall.playbook.model import Backoff, Then
from portcall.store.port import Transaction
from portcall.testing.bench import CONTAINER, HEAD, ONE, TWO, Bench, On
from portcall.testing.drive import Drive

# -- order and time ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["parked first", "started first"])
def test_the_deadline_is_kept_in_whatever_order_the_facts_come(on: On, order: str) -> None:
    async def work(bench: Bench) -> None:
        _, command = await bench.begin(CONTAINER)
        started = e.CallProgress(**bench.fact(command, "call.progress/started"), phase="started")
        facts: list[e.Reported] = [bench.parked(command, timeout_seconds=60.0), started]
        if order == "started first":
            facts.reverse()
        assert await bench.report(*facts) == ["accepted", "accepted"]
        bench.clock.time += timedelta(seconds=91)
        await bench.engine.tick()
        (call,) = await bench.engine.open_calls("process")
        assert (call.overdue, call.stop) == (True, "deadline")

    on(work)


def test_a_deadline_beyond_every_date_is_taken_in(on: On) -> None:
    async def work(bench: Bench) -> None:
        _, command = await bench.begin(CONTAINER)
        started = e.CallProgress(**bench.fact(command, "call.progress/started"), phase="started")
        assert await bench.report(bench.parked(command, timeout_seconds=1e18), started) == ["accepted"] * 2

    on(work)


def test_a_command_that_came_back_is_told_to_those_who_wait(on: On) -> None:
    async def work(bench: Bench) -> None:
        _, command = await bench.begin(ONE)
        stop = asyncio.Event()
        timers = asyncio.create_task(bench.engine.run_timers(stop))
        waiting = asyncio.create_task(bench.claim(wait=60))
        await bench.engine.ready()
        await bench.report(bench.deferred(command))
        async with asyncio.timeout(4):
            assert len(await waiting) == 1
        stop.set()
        await timers

    on(work)


@pytest.mark.parametrize("number", [1, 40, 64, 1_026, 100_000])
def test_a_backoff_never_grows_out_of_the_calendar(number: int) -> None:
    capped = Backoff(initial=1.0, factor=2.0, max=30.0, jitter=False)
    assert retry.delay_of(capped, number, "seed") == (1.0 if number == 1 else 30.0)
    then = Then(do="retry", attempts=200_000, backoff="exponential", delay=1.0)
    assert datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=retry.rule_delay(then, number))
    assert retry.rule_delay(Then(do="retry", backoff="exponential", delay=0.0), number) == 0.0


# -- faults ------------------------------------------------------------------------------------


def test_a_timer_that_cannot_be_taken_in_keeps_no_other(on: On) -> None:
    async def work(bench: Bench) -> None:
        due = bench.clock.now() + timedelta(seconds=5)
        broken, first = await bench.begin(ONE)
        good, second = await bench.begin(ONE.replace("name: t", "name: other"))
        for command in (first, second):
            await bench.report(bench.parked(command, runtime="timer", resume_at=due))
        await bench.engine.close()
        with sqlite3.connect(bench.path) as connection:
            query = (
                "UPDATE playbook SET text = '[' WHERE digest = (SELECT playbook FROM execution WHERE id = ?)"
            )
            connection.execute(query, (int(broken),))
        connection.close()
        bench.engine = bench.open()
        bench.clock.time = due
        assert await bench.engine.tick() > 1, "what is put off is not looked at again at once"
        assert await bench.status(good) == "completed"

    on(work)


def test_a_fact_with_the_id_of_another_is_refused_alone(on: On) -> None:
    async def work(bench: Bench) -> None:
        first, one = await bench.begin(ONE)
        second, two = await bench.begin(ONE)
        assert await bench.report(bench.done(one, event_id=f"{second}-start"), bench.done(two)) == [
            "refused",
            "accepted",
        ]
        assert await bench.report(bench.done(one)) == ["accepted"]
        assert [await bench.status(each) for each in (first, second)] == ["completed", "completed"]

    on(work)


def test_what_was_taken_back_is_not_in_the_cache_though_another_process_wrote_as_much(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution, command = await bench.begin(TWO)

        def fail(tx: Transaction) -> None:
            bench.engine._ingest.take(tx, bench.done(command, data="never written"), Effects())
            raise RuntimeError("a fault after it")

        with pytest.raises(RuntimeError, match="a fault"):
            await bench.engine._store.write(fail)
        other = bench.open()
        await other.report([bench.done(command, data="written")])
        await other.close()
        assert (await bench.engine.execution(execution)).steps["start"].data == "written"

    on(work)


def test_asking_for_what_is_not_there_leaves_nothing_behind(on: On) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(NotFoundError):
            await bench.engine.execution("5")
        execution, _ = await bench.begin(ONE)
        view = await bench.engine.execution(execution)
        waiting = asyncio.create_task(bench.engine.execution(execution, after=view.seq, wait_seconds=60))
        await bench.engine.ready()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert bench.engine._facts == {}

    on(work)


# -- two processes -----------------------------------------------------------------------------


def test_only_one_of_two_processes_takes_over(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution = await bench.engine.start(StartRequest(playbook=ONE))
        one, two = bench.open("one"), bench.open("two")
        seen = await one.owner_of(execution), await two.owner_of(execution)
        await one.adopt(execution, seen[0])
        with pytest.raises(ConflictError, match="taken over by another process"):
            await two.adopt(execution, seen[1])
        assert len(await one.claim(ClaimRequest(worker_id="one", slots=1))) == 1
        await one.close()
        await two.close()

    on(work)


# -- cancel ------------------------------------------------------------------------------------


def test_what_comes_back_after_a_cancel_has_ended(on: On) -> None:
    async def work(bench: Bench) -> None:
        execution, command = await bench.begin(ONE)
        await bench.engine.cancel(execution)
        assert await bench.report(bench.deferred(command)) == ["accepted"]
        assert (await bench.status(execution), await bench.claim()) == ("cancelled", [])
        assert (await bench.engine.replay(execution)).differences == []

    on(work)


@pytest.mark.parametrize("how", ["deferred", "expired"])
def test_a_container_that_may_have_begun_is_looked_for_after_a_cancel_not_begun(on: On, how: str) -> None:
    async def work(bench: Bench) -> None:
        execution, command = await bench.begin(CONTAINER)
        assert not command.stop
        await bench.engine.cancel(execution)
        if how == "deferred":
            await bench.report(bench.deferred(command))
        else:
            bench.clock.time += timedelta(seconds=31)
            await bench.engine.tick()
        (again,) = await bench.claim()
        assert (again.call_id, again.stop) == (command.call_id, True)
        assert await bench.status(execution) == "cancelling"
        assert await bench.report(bench.done(again, status="cancelled")) == ["accepted"]
        assert await bench.status(execution) == "cancelled"

    on(work)


# -- inputs ------------------------------------------------------------------------------------

INPUT = """
- step: start
  input: {x: "{{ 'a' + 1 }}"}
  tool: {kind: noop, SPEC}
  next: {arcs: [{step: end, when: "{{ ARC }}"}]}
- {step: end, tool: {kind: noop}}
"""
CONTINUE = "spec: {policy: {rules: [{else: {then: {do: continue}}}]}}"


@pytest.mark.parametrize(
    ("spec", "arc", "status"),
    [
        ("", "false", "failed"),
        ("", "output.status == 'error'", "running"),
        (CONTINUE, "true", "running"),
        (CONTINUE, "x == 1", "failed"),
        (CONTINUE, "input.x == 1", "failed"),
    ],
    ids=["nobody", "an arc", "a rule", "read by name", "read as input"],
)
def test_an_input_that_cannot_be_rendered_fails_the_call_and_can_be_taken_care_of(
    spec: str, arc: str, status: str
) -> None:
    drive = Drive(app.load_playbook(HEAD + INPUT.replace("SPEC", spec).replace("ARC", arc)))
    drive.fail("start", kind="config", message="it cannot be rendered")
    assert drive.status == status
    assert drive.replayed().differences == []
