"""A whole worker against a server in memory, on a loop where waiting takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from portcall import ids
from portcall.errors import TooLargeError, ToolError, UnavailableError
from portcall.model.api import Command
from portcall.model.event import CallDone, Reported
from portcall.model.outcome import Handle
from portcall.observe.secrets import forget_secrets
from portcall.runtime.port import JobSpec
from portcall.testing.fake_client import FakeClient
from portcall.testing.fake_runtime import FakeRuntime
from portcall.testing.fast_loop import LoopClock, run_fast
from portcall.tool.port import Call, Deferred, Done, Parked, Result, Services
from portcall.worker.worker import Worker


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seconds: float = 0
    value: Any = None


class Kind:
    raw: ClassVar[frozenset[str]] = frozenset()
    Config: ClassVar[type[BaseModel]] = Config

    def __init__(self, start: Callable[[Call, Services], Awaitable[Result]]) -> None:
        self._start = start

    @property
    def kind(self) -> str:
        return "test"

    async def start(self, call: Call, services: Services) -> Result:
        return await self._start(call, services)


def kinds(**start: Callable[[Call, Services], Awaitable[Result]]) -> Mapping[str, Any]:
    return {name: Kind(function) for name, function in start.items()}


def command(number: int, kind: str = "echo", **fields: Any) -> Command:
    call = ids.call_id("1", "s", 1, number, 0, 1, 1)
    return Command(
        call_id=call, execution_id="1", step="s", run=1, kind=kind, tool=fields.pop("tool", {}), **fields
    )


async def echo(call: Call, _: Services) -> Result:
    return Done(call.config.model_dump()["value"])


async def sleep(call: Call, services: Services) -> Result:
    services.log("going to sleep")
    await asyncio.sleep(call.config.model_dump()["seconds"])
    return Done("slept")


async def container(call: Call, services: Services) -> Result:
    assert services.runtime is not None
    if not await services.still_mine():
        return Deferred("the lease is over")
    try:
        spec = JobSpec(name=f"pc-{call.call_id[:12]}", execution_id="1", step=call.step, call_id=call.call_id)
        return Parked(await services.runtime.dispatch(spec), timeout_seconds=60)
    except UnavailableError as error:
        return Deferred(error.message, 7.0)


ALL = kinds(echo=echo, sleep=sleep, container=container)


@asynccontextmanager
async def working(client: FakeClient, using: Mapping[str, Any] = ALL, **settings: Any) -> Any:
    clock = LoopClock()
    runtime = settings.pop("runtime", None) or FakeRuntime(clock)
    settings = {"worker_id": "w1", "slots": 4, "workdir": ".", "lease_seconds": 30.0} | settings
    worker = Worker(client, using, runtime, clock=clock, time=clock.seconds, **settings)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker, stop, task
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the clock of the loop jumps
        await asyncio.sleep(0.1)


def finish(commands: list[Command], using: Mapping[str, Any] = ALL, **settings: Any) -> FakeClient:
    """Run commands to their ends."""

    async def main() -> FakeClient:
        client = FakeClient()
        client.offer(*commands)
        async with working(client, using, **settings):
            await client.until(
                lambda: all(c.call_id in client.done or c.call_id in client.parked for c in commands)
            )
        return client

    return run_fast(main())


def only(client: FakeClient) -> CallDone:
    (done,) = client.done.values()
    return done


# -- what a command comes to ------------------------------------------------------------------


def test_a_result_is_reported_with_its_identity() -> None:
    one = command(1, tool={"value": "{{ fetch }}"}, scope={"fetch": {"n": 3}})
    done = only(finish([one]))
    assert (done.status, done.data, done.worker_id, done.claim) == ("success", {"n": 3}, "w1", 1)
    assert done.event_id == ids.event_id(one.call_id, "call.done")


def test_inputs_are_rendered_first_and_seen_by_the_fields() -> None:
    seen: list[Call] = []

    async def look(call: Call, _: Services) -> Result:
        seen.append(call)
        return Done(call.config.model_dump()["value"])

    scope = {"run": "outer", "fetch": {"n": 3}}
    one = command(1, "look", tool={"value": "{{ run }}"}, input={"run": "{{ fetch.n }}"}, scope=scope)
    assert only(finish([one], kinds(look=look))).data == 3
    assert seen[0].input == {"run": 3}
    two = command(1, "look", tool={"value": "{{ input.run }}"}, input={"run": 4})
    assert only(finish([two], kinds(look=look))).data == 4


def test_raw_fields_are_not_rendered() -> None:
    class Code(Kind):
        raw = frozenset({"value"})

    done = only(finish([command(1, tool={"value": "{{ x }}"}, scope={"x": 1})], {"echo": Code(echo)}))
    assert done.data == "{{ x }}"


@pytest.mark.parametrize(
    ("one", "kind", "said"),
    [
        (command(1, tool={"seconds": "many"}), "config", "seconds: Input should be a valid number"),
        (command(1, tool={"secnods": 1}), "config", "secnods: Extra inputs"),
        (command(1, "nothing"), "config", "knows no tool kind 'nothing'"),
        (command(1, expects=["rows", "n"], input={"n": 1}), "config", "expects rows, which"),
        (command(1, tool={"value": {"a": None}}, returns=["a", "b"]), "result", "promises to return b, which"),
        (command(1, tool={"value": 1j}), "result", "is not JSON"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(one: Command, kind: str, said: str) -> None:
    done = only(finish([one]))
    assert done.status == "error"
    assert done.error is not None
    assert (done.error.kind, done.error.step) == (kind, "s")
    assert said in done.error.message


def test_a_value_that_was_wrong_is_not_shown() -> None:
    done = only(finish([command(1, tool={"seconds": "{{ token }}"}, scope={"token": "s3cret-value"})]))
    assert done.error is not None
    assert "s3cret-value" not in done.error.message


def test_a_tool_error_keeps_its_fields_its_data_and_the_log() -> None:
    async def fail(_: Call, services: Services) -> Result:
        services.log("first\n")
        services.log("second")
        raise ToolError("No.", kind="rate_limit", retryable=True, code="E1", status=429, data={"body": 1})

    done = only(finish([command(1, "fail")], kinds(fail=fail)))
    assert done.error is not None
    assert (done.error.kind, done.error.retryable, done.error.code, done.error.status) == (
        "rate_limit",
        True,
        "E1",
        429,
    )
    assert (done.data, done.log_tail) == ({"body": 1}, "first\nsecond\n")


@pytest.mark.parametrize("raised", [ZeroDivisionError("by zero\nmore"), SystemExit(3), KeyError()])
def test_whatever_a_tool_raises_is_one_sentence(raised: BaseException) -> None:
    async def fail(_: Call, __: Services) -> Result:
        raise raised

    done = only(finish([command(1, "fail")], kinds(fail=fail)))
    assert done.error is not None
    assert done.error.kind == "exception"
    assert done.error.message.startswith("The fail tool of step s failed unexpectedly: ")
    assert "\n" not in done.error.message


def test_a_tool_that_cancels_itself_is_an_error_not_a_silence() -> None:
    async def fail(_: Call, __: Services) -> Result:
        raise asyncio.CancelledError

    done = only(finish([command(1, "fail")], kinds(fail=fail)))
    assert done.status == "error"


def test_credentials_are_blanked_in_log_and_message() -> None:
    async def leak(_: Call, services: Services) -> Result:
        assert services.credential is not None
        password = services.credential("db")["password"]
        services.log(f"connecting to host-1 with {password}")
        raise ToolError(f"refused: {password}")

    secret = {"password": "correct horse", "host": "host-1"}
    try:
        done = only(finish([command(1, "leak")], kinds(leak=leak), credential=lambda _: secret))
    finally:
        forget_secrets()
    assert done.error is not None
    assert (done.error.message, done.log_tail) == ("refused: ***", "connecting to host-1 with ***\n")


# -- slots, leases, reports -------------------------------------------------------------------


def test_never_more_commands_than_slots_and_all_are_run() -> None:
    running = most = 0

    async def track(_: Call, __: Services) -> Result:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(1)
        running -= 1
        return Done()

    client = finish([command(n, "track") for n in range(20)], kinds(track=track), slots=3)
    assert (len(client.done), most) == (20, 3)


def test_a_chain_of_short_steps_costs_one_request_a_step() -> None:
    async def main() -> FakeClient:
        client, left = FakeClient(), iter([command(n) for n in range(1, 100)])

        def follow(_: CallDone) -> None:
            client.offer(*(c for c in [next(left, None)] if c is not None))

        client.on_done = follow
        client.offer(command(0))
        async with working(client, slots=1):
            await client.until(lambda: len(client.done) == 100)
        return client

    client = run_fast(main())
    assert client.requests["report"] == 100
    assert client.requests["claim"] <= 2


def test_what_ends_together_is_reported_together() -> None:
    client = finish([command(n) for n in range(50)], slots=50)
    assert client.batches == [50]


def test_a_container_gives_its_slot_back() -> None:
    async def main() -> FakeClient:
        client = FakeClient()
        client.offer(*(command(n, "container") for n in range(200)))
        async with working(client, slots=1) as (worker, _, _task):
            await client.until(lambda: len(client.parked) == 200)
            assert worker.busy == 0
        return client

    client = run_fast(main())
    parked = next(iter(client.parked.values()))
    assert parked.timeout_seconds == 60
    assert parked.event_id == ids.event_id(parked.call_id, "call.parked")
    assert not client.done


def test_a_runtime_that_is_away_gives_the_command_back() -> None:
    async def main() -> FakeClient:
        client, runtime = FakeClient(), FakeRuntime(LoopClock())
        runtime.outages = 1
        client.offer(command(1, "container"))
        async with working(client, runtime=runtime):
            await client.until(lambda: len(client.deferred) == 1)
        return client

    (deferred,) = run_fast(main()).deferred
    assert deferred.not_before - deferred.at == timedelta(seconds=7)
    assert deferred.claim == 1


def test_a_dispatch_times_out_before_the_lease_does() -> None:
    class Slow(FakeRuntime):
        async def dispatch(self, spec: JobSpec) -> Any:
            await asyncio.sleep(1000)
            return await super().dispatch(spec)

    async def main() -> tuple[FakeClient, float]:
        client, runtime = FakeClient(), Slow(LoopClock())
        client.offer(command(1, "container"))
        async with working(client, runtime=runtime, lease_seconds=12.0):
            await client.until(lambda: len(client.deferred) == 1)
            return client, asyncio.get_running_loop().time()

    client, seconds = run_fast(main())
    assert seconds < 12
    assert "did not accept the Job" in client.deferred[0].reason


def test_a_worker_that_was_paused_does_not_create_anything() -> None:
    clock = LoopClock()

    async def main() -> FakeRuntime:
        client, runtime = FakeClient(), FakeRuntime(clock)

        async def paused(call: Call, services: Services) -> Result:
            clock.offset = 3600  # the machine slept for an hour, and the server gave the call to another
            client.to_lose.add(call.call_id)
            return await container(call, services)

        worker = Worker(
            client, kinds(paused=paused), runtime, worker_id="w", slots=1, clock=clock, workdir=".",
            time=clock.seconds,
        )  # fmt: skip
        client.offer(command(1, "paused"))
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        await until(lambda: client.requests["heartbeat"] > 0 and worker.busy == 0)
        stop.set()
        await task
        assert not client.posted
        return runtime

    assert not run_fast(main()).jobs


def test_a_lease_that_ran_out_unnoticed_is_renewed_before_creating() -> None:
    clock = LoopClock()

    async def main() -> FakeClient:
        client, runtime = FakeClient(), FakeRuntime(clock)

        async def paused(call: Call, services: Services) -> Result:
            clock.offset = 3600
            return await container(call, services)

        client.offer(command(1, "paused"))
        worker = Worker(
            client, kinds(paused=paused), runtime, worker_id="w", slots=1, clock=clock, workdir=".",
            time=clock.seconds,
        )  # fmt: skip
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        await client.until(lambda: len(client.parked) == 1)
        stop.set()
        await task
        return client

    assert run_fast(main()).requests["heartbeat"] == 1


def test_leases_are_renewed_while_a_call_runs() -> None:
    client = finish([command(1, "sleep", tool={"seconds": 95})])
    assert client.requests["heartbeat"] == 9


def test_a_call_that_is_to_stop_is_reported_as_cancelled_within_two_seconds() -> None:
    async def main() -> tuple[FakeClient, float]:
        client = FakeClient()
        client.offer(command(1, "sleep", tool={"seconds": 500}))
        client.to_stop.add(command(1).call_id)
        async with working(client):
            await client.until(lambda: len(client.done) == 1)
            return client, asyncio.get_running_loop().time()

    client, seconds = run_fast(main())
    done = only(client)
    assert (done.status, done.log_tail) == ("cancelled", "going to sleep\n")
    assert seconds <= 12


def test_a_tool_may_end_by_itself_when_it_is_asked_to_stop() -> None:
    async def polite(_: Call, services: Services) -> Result:
        await services.cancelled.wait()
        return Done("saved")

    async def main() -> FakeClient:
        client = FakeClient()
        client.offer(command(1, "polite"))
        client.to_stop.add(command(1).call_id)
        async with working(client, kinds(polite=polite)):
            await client.until(lambda: len(client.done) == 1)
        return client

    assert only(run_fast(main())).data == "saved"


def test_a_container_that_is_being_dispatched_is_not_given_up_when_it_is_to_stop() -> None:
    """Only the end of the dispatch tells whether there is a Job, which the watcher then stops."""

    class Slow(FakeRuntime):
        async def dispatch(self, spec: JobSpec) -> Handle:
            handle = await super().dispatch(spec)
            await asyncio.sleep(15)
            return handle

    async def main() -> None:
        client, clock = FakeClient(), LoopClock()
        client.offer(command(1, "container"))
        client.to_stop.add(command(1).call_id)
        async with working(client, runtime=Slow(clock)):
            await client.until(lambda: bool(client.posted))
        assert (len(client.parked), client.done) == (1, {})

    run_fast(main())


def test_a_command_that_comes_to_be_stopped_says_so_to_its_tool() -> None:
    async def look(call: Call, services: Services) -> Result:
        del call
        return Done(services.cancelled.is_set())

    client = finish([command(1, "look", stop=True), command(2, "look")], kinds(look=look))
    assert sorted(done.data for done in client.done.values()) == [False, True]


def test_a_lost_call_ends_without_a_word() -> None:
    ended = asyncio.Event()

    async def main() -> FakeClient:
        async def hold(_: Call, __: Services) -> Result:
            try:
                await asyncio.sleep(500)
            finally:
                ended.set()
            return Done()

        client = FakeClient()
        client.offer(command(1, "hold"))
        client.to_lose.add(command(1).call_id)
        async with working(client, kinds(hold=hold)) as (worker, _, _task):
            await ended.wait()
            await asyncio.sleep(1)
            assert worker.busy == 0
        return client

    assert not run_fast(main()).posted


def test_a_server_that_is_away_loses_nothing_and_keeps_no_slot() -> None:
    async def main() -> FakeClient:
        client = FakeClient()
        client.offer(command(1, "sleep", tool={"seconds": 1}))
        async with working(client) as (worker, _, _task):
            await until(lambda: worker.busy > 0)
            client.outages = 40
            await asyncio.sleep(5)
            assert worker.busy == 0
            await client.until(lambda: len(client.done) == 1)
        return client

    client = run_fast(main())
    assert client.verdicts == {"accepted": 1}


def test_an_outbox_that_is_full_stops_the_claims() -> None:
    async def main() -> None:
        client = FakeClient()
        client.offer(*(command(n) for n in range(100)))
        async with working(client, slots=2, outbox_limit=4) as (worker, _, _task):
            client.outages, real = 10**6, client.claim

            async def claim(request: Any) -> list[Command]:
                client.outages, kept = 0, client.outages
                try:
                    return await real(request)
                finally:
                    client.outages = kept

            client.claim = claim  # type: ignore[method-assign] # only reports fail
            await asyncio.sleep(600)
            assert sum(c.call_id in client.claimed for c in (command(n) for n in range(100))) <= 6
            assert worker.busy == 0
            client.outages = 0
            await client.until(lambda: len(client.done) == 100)

    run_fast(main())


def test_a_refused_result_becomes_an_error_that_says_so() -> None:
    def refuse(event: Reported) -> str:
        return "too large" if isinstance(event, CallDone) and event.data is not None else ""

    async def main() -> FakeClient:
        client = FakeClient()
        client.refuse = refuse
        client.offer(command(1, tool={"value": "big"}), command(2))
        async with working(client):
            await client.until(lambda: len(client.done) == 2)
        return client

    done = run_fast(main()).done
    refused = done[command(1).call_id]
    assert refused.status == "error"
    assert refused.error is not None
    assert refused.error.message == "The result was refused: too large"
    assert done[command(2).call_id].status == "success"


def test_one_fact_too_large_for_a_request_does_not_block_the_others() -> None:
    async def main() -> FakeClient:
        client = FakeClient()
        real = client.report

        async def report(events: list[Reported], claim: Any = None) -> Any:
            if any(isinstance(event, CallDone) and event.data == "big" for event in events):
                raise TooLargeError("The request is larger than 8 MiB.")
            return await real(events, claim)

        client.report = report  # type: ignore[method-assign] # a server with a bound
        client.offer(*(command(n, tool={"value": "big" if n == 3 else n}) for n in range(6)))
        async with working(client, slots=6):
            await client.until(lambda: len(client.done) == 6)
        return client

    done = run_fast(main()).done
    assert [done[command(n).call_id].status for n in range(6)].count("error") == 1
    assert done[command(3).call_id].status == "error"


def test_facts_that_never_fit_are_given_up_not_repeated_for_ever() -> None:
    async def main() -> FakeClient:
        client = FakeClient()
        client.refuse = lambda event: "no" if event.call_id == command(1).call_id else ""
        client.offer(command(1), command(2))
        async with working(client):
            await client.until(lambda: len(client.done) == 1)
            await asyncio.sleep(100)
        return client

    assert run_fast(main()).verdicts == {"refused": 2, "accepted": 1}


# -- the end ----------------------------------------------------------------------------------


def test_draining_waits_for_what_runs_and_claims_no_more() -> None:
    async def main() -> FakeClient:
        client = FakeClient()
        client.offer(command(1, "sleep", tool={"seconds": 5}))
        async with working(client, slots=1) as (worker, stop, task):
            await until(lambda: worker.busy > 0)
            client.offer(command(2))
            stop.set()
            await task
        return client

    assert list(run_fast(main()).done) == [command(1).call_id]


def test_what_outlasts_the_drain_is_ended_and_not_reported() -> None:
    async def main() -> tuple[FakeClient, float]:
        client = FakeClient()
        client.offer(command(1, "sleep", tool={"seconds": 500}))
        async with working(client, drain_seconds=3) as (worker, stop, task):
            await until(lambda: worker.busy > 0)
            stop.set()
            await task
            assert worker.busy == 0
            return client, asyncio.get_running_loop().time()

    client, seconds = run_fast(main())
    assert not client.posted
    assert seconds < 5


def test_draining_ends_although_the_server_is_away() -> None:
    async def main() -> float:
        client = FakeClient()
        client.offer(command(1))
        async with working(client) as (_, stop, task):
            await asyncio.sleep(0)
            client.outages = 10**6
            await asyncio.sleep(30)
            began = asyncio.get_running_loop().time()
            stop.set()
            await task
            return asyncio.get_running_loop().time() - began

    assert run_fast(main()) <= 16


@given(
    st.lists(st.tuples(st.sampled_from(["echo", "sleep", "container"]), st.integers(0, 30)), max_size=20),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), max_size=5),
)
def test_every_command_ends_once_through_any_outages(
    work: list[tuple[str, int]], slots: int, outages: list[tuple[int, int]]
) -> None:
    async def main() -> FakeClient:
        client = FakeClient()
        commands = [command(n, kind, tool={"seconds": seconds}) for n, (kind, seconds) in enumerate(work)]

        async def disturb() -> None:
            for wait, count in outages:
                await asyncio.sleep(wait)
                client.outages += count

        async with working(client, slots=slots):
            client.offer(*commands)
            trouble = asyncio.create_task(disturb())
            await client.until(
                lambda: all(c.call_id in client.done or c.call_id in client.parked for c in commands)
            )
            await trouble
            client.outages = 0
        return client

    client = run_fast(main())
    assert client.verdicts["accepted"] == len(work)
    assert client.verdicts["duplicate"] == client.verdicts["stale"] == client.verdicts["unknown"] == 0
