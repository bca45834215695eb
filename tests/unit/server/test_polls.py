"""Long polls: bounded, ended by shutdown, given up when the caller goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from portcall.errors import UnavailableError
from portcall.model.api import ClaimRequest

POLLS = {
    "stops": lambda client: client.stops("process", 0, 50),
    "execution": lambda client: client.execution("7", after=5, wait_seconds=50),
    "events": lambda client: client.events("7", after=5, wait_seconds=50),
    "claim": lambda client: client.claim(ClaimRequest(worker_id="w", slots=1, wait_seconds=50)),
}


@pytest.mark.parametrize("name", POLLS)
def test_shutdown_ends_it_with_what_is_there(live: Any, name: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            waiting = asyncio.ensure_future(POLLS[name](client))
            await server.engine.waiting.wait()
            server.stop.set()
            answer = await waiting
            assert server.engine.gave_up.is_set()
        if name == "claim":  # nothing more is handed out, since it may not arrive
            assert answer == []
            assert [asked for asked, _ in server.engine.asked] == ["claim"]
        else:
            assert answer

    asyncio.run(main())


@pytest.mark.parametrize("name", POLLS)
def test_a_caller_that_goes_takes_its_poll_along(live: Any, name: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            waiting = asyncio.ensure_future(POLLS[name](client))
            await server.engine.waiting.wait()
            waiting.cancel()
            await server.engine.gave_up.wait()
            assert len(server.engine.asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize("name", POLLS)
def test_it_answers_as_soon_as_there_is_something(live: Any, name: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            waiting = asyncio.ensure_future(POLLS[name](client))
            await server.engine.waiting.wait()
            server.engine.wake.set()
            assert await waiting
            assert not server.engine.gave_up.is_set()

    asyncio.run(main())


def test_the_wait_is_bounded(live: Any) -> None:
    async def main() -> None:
        server = live(poll_seconds=0.01)
        async with server.client() as client:
            await client.stops("process", 0, 1e9)
            await client.stops("process", 0, -5)
        assert [asked[2] for _, asked in server.engine.asked] == [0.01, 0.0]

    asyncio.run(main())


def test_an_error_while_waiting_is_an_error(live: Any) -> None:
    async def main() -> None:
        server = live()
        async with server.client() as client:
            server.engine.raises = UnavailableError("The store is away.")
            with pytest.raises(UnavailableError, match="store"):
                await client.stops("process", 0, 50)

    asyncio.run(main())
