"""A job from its dispatch to its removal: once, found again, told to every observer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from portcall.errors import RejectedError
from portcall.ids import call_id
from portcall.runtime.port import Runtime


def test_dispatching_twice_is_one_job(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.shell("echo ran; exec sleep 60")
        first = await runtime.dispatch(spec)
        assert await runtime.dispatch(spec) == first
        assert await harness.make().dispatch(spec) == first
        await harness.printed(runtime, first, b"ran\n")
        await runtime.stop(first, "cancel")
        assert (await harness.ended(runtime, first)).log_tail == "ran\n"
        assert await runtime.dispatch(spec) == first
        await runtime.release(first)
        assert await runtime.dispatch(spec) == first
        assert await runtime.list() == []

    harness.run(test)


def test_racing_dispatchers_start_one_container(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.shell("echo ran; exec sleep 60")
        others = [harness.make() for _ in range(3)]
        handles = await asyncio.gather(*(one.dispatch(spec) for one in [runtime, *others] * 3))
        assert len(set(handles)) == 1
        await harness.printed(runtime, handles[0], b"ran\n")
        await runtime.stop(handles[0], "cancel")
        assert (await harness.ended(runtime, handles[0])).log_tail == "ran\n"

    harness.run(test)


def test_a_name_of_another_call_is_refused(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        spec = harness.spec("true")
        await runtime.dispatch(spec)
        other = harness.spec("true", name=spec.name, call_id=call_id("other", "s", 1, None, 0, 1, 1))
        with pytest.raises(RejectedError, match=spec.call_id) as refused:
            await runtime.dispatch(other)
        assert refused.value.state == "failed_rejected"

    harness.run(test)


def test_get_list_release_sweep(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        assert await runtime.get("nothing-of-this-name") is None
        spec = harness.spec("true")
        handle = await runtime.dispatch(spec)
        await harness.ended(runtime, handle)
        (listed,) = await runtime.list()
        assert (listed.handle, listed.call_id, listed.step) == (handle, spec.call_id, "train")
        assert listed.outcome is not None
        assert await runtime.sweep(0) == 0
        await runtime.release(handle)
        await runtime.release(handle)
        assert await runtime.list() == []
        kept = await runtime.get(handle.name)
        assert kept is not None
        assert (kept.acknowledged, kept.phase, kept.handle) == (True, "finished", handle)
        assert await runtime.sweep(3600) == 0
        assert await runtime.sweep(0) == 1
        assert await runtime.get(handle.name) is None

    harness.run(test)


def test_release_of_a_running_job_takes_effect_at_its_end(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("echo up; exec sleep 60"))
        await runtime.release(handle)
        assert await runtime.list() == []
        running = await runtime.get(handle.name)
        assert running is not None
        assert (running.phase, running.acknowledged) == ("started", True)
        assert await runtime.sweep(0) == 0
        await runtime.stop(handle, "cancel")
        async for _ in runtime.logs(handle, follow=True):
            pass
        assert await runtime.list() == []
        assert await runtime.sweep(0) == 1

    harness.run(test)


def test_a_handle_of_an_earlier_job_touches_nothing(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("echo up; exec sleep 60"))
        stranger = type(handle)(runtime="process", cluster=handle.cluster, name=handle.name, uid="another")
        await runtime.stop(stranger, "cancel")
        await runtime.release(stranger)
        (still,) = await runtime.list()
        assert (still.phase, still.acknowledged) == ("started", False)

    harness.run(test)


def test_identity_stays(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        assert (await runtime.identity()).startswith(f"{runtime.name}:")
        assert await runtime.identity() == await harness.make().identity()

    harness.run(test)


def test_every_observer_sees_what_is_there_and_every_end(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        before = await runtime.dispatch(harness.spec("true"))
        await harness.ended(runtime, before)
        ends = [asyncio.create_task(_ends(one, 31)) for one in (runtime, harness.make())]
        specs = [harness.shell(f"exit {number}") for number in range(30)]
        handles = await asyncio.gather(*map(runtime.dispatch, specs))
        for names in await asyncio.gather(*ends):
            assert sorted(names) == sorted(handle.name for handle in [before, *handles])

    harness.run(test)


async def _ends(runtime: Runtime, count: int) -> list[str]:
    names: list[str] = []
    stream: Any = runtime.observe()
    async with aclosing(stream):
        async for one in stream:
            if one.outcome is not None:
                names.append(one.handle.name)
            if len(names) == count:
                break
    return names


def test_an_observation_of_a_start(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.spec("sleep", "60"))
        started = await harness.reached(runtime, handle, "started")
        assert started.where.startswith("pid ")
        assert started.outcome is None

    harness.run(test)


# -- logs ------------------------------------------------------------------------------------------------------


async def _log(runtime: Runtime, handle: Any, *, follow: bool = False) -> bytes:
    return b"".join([chunk async for chunk in runtime.logs(handle, follow=follow)])


def test_logs(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("echo one; echo two"))
        assert await _log(runtime, handle, follow=True) == b"one\ntwo\n"
        await harness.ended(runtime, handle)
        await runtime.release(handle)
        assert await _log(runtime, handle) == b"one\ntwo\n"

    harness.run(test)


def test_logs_follow_to_the_end(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("echo up; trap 'echo bye; exit 0' TERM; sleep 60 & wait"))
        following = asyncio.create_task(_log(runtime, handle, follow=True))
        await harness.printed(runtime, handle, b"up")
        await runtime.stop(handle, "cancel")
        assert await following == b"up\nbye\n"

    harness.run(test)


def test_the_log_is_bounded_and_keeps_its_end(harness: Any) -> None:
    async def test(runtime: Runtime) -> None:
        handle = await runtime.dispatch(harness.shell("seq 1 200000; echo '{\"last\": true}'", result="stdout"))
        end = await harness.ended(runtime, handle)
        assert (end.state, end.result) == ("succeeded", {"last": True})
        assert len(end.log_tail or "") == 4096
        log = await _log(runtime, handle)
        assert 65536 <= len(log) <= 2 * 65536
        numbers = [int(line) for line in log.splitlines()[1:-1]]
        assert numbers == list(range(numbers[0], 200001))

    harness.run(test, log_bytes=65536)


def test_output_that_is_not_text(harness: Any) -> None:
    assert harness.outcome(harness.shell("printf 'a\\377b'")).log_tail == "a\ufffdb"
