"""What every runtime is given here: a place of its own, and a harness that waits for ends."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

from portcall.ids import call_id, job_name
from portcall.model.outcome import Handle, Outcome
from portcall.runtime.port import JobSpec, Observation, Phase, Runtime
from portcall.runtime.process import ProcessRuntime

GUARD_SECONDS = 60
"""Only so that a broken runtime fails instead of hanging."""

_T = TypeVar("_T")
_numbers = itertools.count(1)


class Harness:
    """A runtime with a short grace, in a folder of its own, and what a watcher would do with it."""

    def __init__(self, root: Path, cgroups: Literal["auto", "off"]) -> None:
        self.root = root
        self.cgroups = cgroups
        self._made: list[ProcessRuntime] = []

    def make(self, **options: Any) -> ProcessRuntime:
        """One more runtime on the same place, as another process would have it."""
        defaults: dict[str, Any] = {"cgroups": self.cgroups, "grace": 0.3, "memory_poll": 0.02}
        self._made.append(ProcessRuntime(self.root, **(defaults | options)))
        return self._made[-1]

    def run(self, test: Callable[[ProcessRuntime], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        async def whole() -> Any:
            runtime = self.make(**options)
            try:
                return await asyncio.wait_for(test(runtime), GUARD_SECONDS)
            finally:
                await self._end(runtime)

        return asyncio.run(whole())

    async def _end(self, runtime: ProcessRuntime) -> None:
        for one in await runtime.list():
            await runtime.stop(one.handle, "cancel")
        for one in await runtime.list():
            await self.ended(runtime, one.handle)
        for made in self._made:
            await made.close()

    def outcome(self, spec: JobSpec, **options: Any) -> Outcome:
        """Run one job to its end."""

        async def one(runtime: ProcessRuntime) -> Outcome:
            return await self.ended(runtime, await runtime.dispatch(spec))

        result = self.run(one, **options)
        assert isinstance(result, Outcome)
        return result

    # -- jobs ----------------------------------------------------------------------------------

    @staticmethod
    def spec(*command: str, **fields: Any) -> JobSpec:
        """A job of its own call, with a deterministic name."""
        call = call_id(f"{next(_numbers)}", "train", 1, None, 0, 1, 1)
        name = job_name("portcall", "train", call)
        named = {"name": name, "execution_id": "42", "step": "train", "call_id": call, "command": list(command)}
        return JobSpec(**(named | fields))

    def shell(self, script: str, **fields: Any) -> JobSpec:
        return self.spec("sh", "-c", script, **fields)

    # -- what a watcher does ---------------------------------------------------------------------

    async def ended(self, runtime: Runtime, handle: Handle) -> Outcome:
        """Wait for the end of a job, as observed."""
        found = await self.reached(runtime, handle, "finished")
        assert found.outcome is not None
        return found.outcome

    async def reached(self, runtime: Runtime, handle: Handle, phase: Phase) -> Observation:
        async with aclosing(_generator(runtime.observe())) as stream:
            async for one in stream:
                if one.handle == handle and one.phase == phase:
                    return one
        raise AssertionError("the stream of observations ended")

    async def printed(self, runtime: Runtime, handle: Handle, wanted: bytes) -> bytes:
        """Follow the output of a running job until it has said something."""
        seen = b""
        async with aclosing(_generator(runtime.logs(handle, follow=True))) as stream:
            async for chunk in stream:
                seen += chunk
                if wanted in seen:
                    return seen
        raise AssertionError(f"the job ended without printing {wanted!r}: {seen!r}")


def _generator(stream: AsyncIterator[_T]) -> AsyncGenerator[_T, None]:
    assert isinstance(stream, AsyncGenerator)
    return stream


@pytest.fixture(params=["auto", "off"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return Harness(tmp_path / "runtime", request.param)
