"""Steps a second on SQLite with full synchronisation: each `noop` goes through a claim and a worker.

A chain of 1,000 steps, and 100 executions of 10 steps at once; embedded, and over HTTP with a server and one
worker as processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import machine
import uvloop

from portcall import local
from portcall.client.http import HttpClient
from portcall.client.port import Client
from portcall.errors import UnavailableError
from portcall.model.api import StartRequest

SLOTS = 16
LOOK_SECONDS = 0.02
ENDED = ("completed", "failed", "cancelled")


def chain(steps: int) -> str:
    """A playbook of so many `noop` steps, one after the other."""
    names = ["start", *(f"s{number}" for number in range(1, steps))]
    lines = [
        "apiVersion: noetl.io/v2",
        "kind: Playbook",
        f"metadata: {{name: chain, path: bench/chain-{steps}}}",
        "workflow:",
    ]
    for name, following in zip(names, [*names[1:], ""], strict=True):
        after = f", next: {{arcs: [{{step: {following}}}]}}" if following else ""
        lines.append(f"  - {{step: {name}, tool: {{kind: noop}}{after}}}")
    return "\n".join(lines) + "\n"


async def started(client: Client, text: str, count: int) -> list[str]:
    return list(await asyncio.gather(*(client.start(StartRequest(playbook=text)) for _ in range(count))))


async def checked(client: Client, ids: list[str]) -> None:
    """Waits until all have ended; a figure of executions that failed would be none."""
    while True:
        status = {one.execution_id: one.status for one in await client.executions(len(ids))}
        if all(status.get(execution_id) in ENDED for execution_id in ids):
            break
        await asyncio.sleep(LOOK_SECONDS)
    if failed := [execution_id for execution_id in ids if status[execution_id] != "completed"]:
        raise SystemExit(f"{len(failed)} of {len(ids)} executions did not complete, such as {failed[0]}")


async def embedded(folder: Path, text: str, count: int) -> float:
    """Seconds from the first start to the last end."""
    async with local.Local(folder / "embedded.db", slots=SLOTS, workdir=folder) as here:
        began = time.perf_counter()
        ids = await started(here.client, text, count)
        await here.drive(set(ids))
        seconds = time.perf_counter() - began
        await checked(here.client, ids)
    return seconds


def background(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen([machine.COMMAND, *arguments], cwd=folder, stdout=quiet, stderr=quiet)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Client]:
    """A server and one worker as processes, and a client of theirs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    commands = [
        ["server", "--db", str(folder / "server.db"), "--port", port, "--log-level", "warning"],
        ["worker", "--server", url, "--slots", str(SLOTS), "--log-level", "warning"],
    ]
    running = [background(command, folder) for command in commands]
    client = HttpClient(url, "")
    try:
        await reachable(client)
        yield client
    finally:
        await client.close()
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


async def reachable(client: Client) -> None:
    for _ in range(200):
        try:
            await client.executions(1)
        except UnavailableError:
            await asyncio.sleep(0.05)
        else:
            return
    raise SystemExit("the server did not come up within 10 s")


async def over_http(folder: Path, text: str, count: int) -> float:
    """Seconds from the first start to the last end that a client sees."""
    async with served(folder) as client:
        await checked(client, await started(client, chain(2), 1))
        began = time.perf_counter()
        await checked(client, await started(client, text, count))
        return time.perf_counter() - began


async def measure(steps: int, executions: int, rounds: int) -> None:
    cases = [
        (f"chain of {steps:,} `noop` steps", chain(steps), 1, steps),
        (f"{executions:,} executions of 10 steps at once", chain(10), executions, executions * 10),
    ]
    ways = [("embedded", embedded), ("over HTTP, one worker", over_http)]
    for how, run in ways:
        for what, text, count, total in cases:
            facts = machine.facts()
            rates = []
            for _ in range(rounds):
                with tempfile.TemporaryDirectory() as folder:
                    rates.append(total / await run(Path(folder), text, count))
            result = ", ".join(f"{rate:,.0f}" for rate in sorted(rates))
            machine.row(f"{what}, {how}", f"{result} steps/s", facts)


def main() -> None:
    gc.set_threshold(50_000, 20, 20)  # as the command line does
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--executions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    uvloop.run(measure(given.steps, given.executions, given.rounds))


if __name__ == "__main__":
    main()
