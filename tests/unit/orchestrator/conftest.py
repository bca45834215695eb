"""What the tests of the engine share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from portcall.testing.bench import Bench, On


@pytest.fixture
def on(tmp_path: Path) -> On:
    def run(work: Callable[[Bench], Awaitable[None]]) -> None:
        async def whole() -> None:
            bench = Bench(tmp_path / "x.db")
            try:
                await work(bench)
            finally:
                await bench.engine.close()

        asyncio.run(whole())

    return run
