"""Show an execution while it goes on: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

from portcall.cli.lines import Lines
from portcall.cli.terminal import Terminal
from portcall.client.port import Client
from portcall.errors import UnavailableError
from portcall.model.event import Event

Mode = Literal["live", "lines", "none"]
Slots = Callable[[], tuple[int, int]]
"""(busy, all) of the worker in this process."""
FRAME_SECONDS = 0.1
TICK_SECONDS = 0.5
"""Elapsed times move on at least so often."""
AWAY_SECONDS = 1.0
PATIENCE_SECONDS = 20.0
GRACE_SECONDS = 0.15
"""What ends sooner needs no live table, and not the time to load one."""


def mode(terminal: Terminal, *, executions: int, quiet: bool, as_json: bool) -> Mode:
    """Beside `--json` a terminal on stderr still shows it live; a log there stays clean."""
    if quiet or (as_json and not terminal.tty):
        return "none"
    return "live" if terminal.tty and executions == 1 else "lines"


@asynccontextmanager
async def showing(
    client: Client, execution_ids: list[str], how: Mode, terminal: Terminal, slots: Slots | None = None
) -> AsyncIterator[None]:
    """Shows the executions while the body runs; every line that is due has been printed at its end."""
    if how == "none":
        yield
        return
    if how == "live":
        tasks = [asyncio.create_task(_live(client, execution_ids[0], terminal, slots))]
        followers: list[Follower] = []
    else:
        many = len(execution_ids) > 1
        followers = [Follower(client, each, terminal, prefix=each if many else "") for each in execution_ids]
        tasks = [asyncio.create_task(follower.run()) for follower in followers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for follower in followers:
        await follower.rest()


class Follower:
    """Prints the lines of one execution, each once."""

    def __init__(self, client: Client, execution_id: str, terminal: Terminal, prefix: str = "") -> None:
        self._client = client
        self._execution_id = execution_id
        self._terminal = terminal
        self._lines = Lines(prefix)
        self._seq = 0

    async def run(self) -> None:
        """Follows without end."""
        while True:
            try:
                await self._print(wait_seconds=PATIENCE_SECONDS)
            except UnavailableError:
                await asyncio.sleep(AWAY_SECONDS)

    async def rest(self) -> None:
        """What has happened and is not printed yet."""
        while await self._print(wait_seconds=0):
            pass

    async def _print(self, wait_seconds: float) -> list[Event]:
        events = await self._client.events(self._execution_id, after=self._seq, wait_seconds=wait_seconds)
        for event in events:
            self._seq = event.seq
            line = self._lines.feed(event)
            if line is not None:
                self._terminal.line(line)
        return events


async def _live(client: Client, execution_id: str, terminal: Terminal, slots: Slots | None) -> None:
    await asyncio.sleep(GRACE_SECONDS)
    from rich.live import Live

    from portcall.cli.screen import screen

    console = terminal.console()
    seq = 0
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            with contextlib.suppress(UnavailableError):
                view = await client.execution(execution_id, after=seq, wait_seconds=TICK_SECONDS)
                seq = view.seq
                size = console.size
                drawn = screen(view, datetime.now(UTC), size.width, size.height, slots() if slots else None)
                live.update(drawn, refresh=True)
            await asyncio.sleep(FRAME_SECONDS)
