"""`portcall logs`: what the steps of an execution wrote.

A container's output is read from its runtime, from the start. Other tools keep the end of their
output in the event log; so do containers whose runtime is out of reach, or has let them go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import click

from portcall.cli import embedded, options, session
from portcall.cli.calls import Call, all_events, calls_of, take
from portcall.cli.rows import CONTAINER_RUNTIMES
from portcall.cli.target import Target, resolve
from portcall.cli.text import clean
from portcall.client.port import Client
from portcall.errors import NotFoundError, PortcallError
from portcall.model.event import CallDone, CallParked, ExecutionEnded
from portcall.runtime.port import Runtime

PATIENCE_SECONDS = 20.0


@click.command("logs")
@click.argument("execution", metavar="ID")
@click.argument("step", required=False)
@options.target
@click.option("--follow", "-f", is_flag=True, help="Go on until the execution has ended.")
def command(  # noqa: PLR0913 - one for each option
    *, execution: str, step: str | None, db: Path | None, server: str | None, token: str | None, follow: bool
) -> int:
    """Print the output of the execution ID, or of one STEP of it."""
    session.run(_logs(Target.of(db, server, token), execution, step, follow=follow))
    return 0


async def _logs(target: Target, text: str, step: str | None, *, follow: bool) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(target.connect())
        execution_id = await resolve(client, text)
        if step is not None:
            view = await client.execution(execution_id)
            if step not in view.steps:
                raise NotFoundError(f"There is no step {step!r}; there are {', '.join(view.steps)}.")
        runtime = None if target.server else await stack.enter_async_context(embedded.runtime(target.db))
        if follow:
            await _follow(client, execution_id, step, runtime)
        else:
            await _print(client, execution_id, step, runtime)


async def _print(client: Client, execution_id: str, step: str | None, runtime: Runtime | None) -> None:
    calls = calls_of(await all_events(client, execution_id)).values()
    chosen = [call for call in calls if step in {None, call.issued.step}]
    for call in chosen:
        first = True
        async for chunk in _output(call, runtime, follow=False):
            if first and len(chosen) > 1:
                click.echo(f"==> {clean(call.name)} <==")
            first = False
            click.echo(chunk, nl=False)
        if not first and len(chosen) > 1:
            click.echo()


async def _output(call: Call, runtime: Runtime | None, *, follow: bool) -> AsyncIterator[bytes]:
    """The output of a call: the runtime's, else what the log kept of it."""
    found = False
    if runtime is not None and call.handle is not None and call.handle.runtime in CONTAINER_RUNTIMES:
        try:
            async for chunk in runtime.logs(call.handle, follow=follow):
                found = True
                yield chunk
        except PortcallError:
            # The runtime has let the container go: the log's tail is what is left.
            found = False
    if not found and call.log:
        yield call.log.encode() if call.log.endswith("\n") else f"{call.log}\n".encode()


async def _follow(client: Client, execution_id: str, step: str | None, runtime: Runtime | None) -> None:
    """Prints each call's output as it comes, every line with the call's name before it."""
    calls: dict[str, Call] = {}
    begun: set[str] = set()
    seq = 0
    async with asyncio.TaskGroup() as group:
        while True:
            events = await client.events(execution_id, after=seq, wait_seconds=PATIENCE_SECONDS)
            for event in events:
                seq = event.seq
                take(calls, event)
                if isinstance(event, ExecutionEnded):
                    return
                if not isinstance(event, CallParked | CallDone) or event.call_id in begun:
                    continue
                call = calls.get(event.call_id)
                if call is not None and step in {None, call.issued.step} and _ready(call, runtime):
                    begun.add(event.call_id)
                    group.create_task(_stream(call, runtime))


def _ready(call: Call, runtime: Runtime | None) -> bool:
    """Whether there is something to read: a container that runs here, or a call that has ended."""
    here = runtime is not None and call.handle is not None and call.handle.runtime in CONTAINER_RUNTIMES
    return here or call.done is not None


async def _stream(call: Call, runtime: Runtime | None) -> None:
    name = clean(call.name).encode()
    rest = b""
    async for chunk in _output(call, runtime, follow=True):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            click.echo(name + b" | " + line)
    if rest:
        click.echo(name + b" | " + rest)
