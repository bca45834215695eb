"""`portcall events`: the log of an execution, which is the truth about it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from portcall.cli import options, session
from portcall.cli.target import Target, resolve
from portcall.cli.terminal import Terminal, out
from portcall.cli.text import compact, time_of_day
from portcall.client.port import Client
from portcall.model.event import Event, ExecutionEnded, encode, type_of

PATIENCE_SECONDS = 20.0
COMMON = frozenset({"type", "execution_id", "at", "seq", "event_id", "step", "call_id"})
LENGTH = 2000
"""Characters of one event's fields; --json has them whole."""


@click.command("events")
@click.argument("execution", metavar="ID")
@options.target
@options.as_json
@click.option("--follow", "-f", is_flag=True, help="Go on until the execution has ended.")
def command(  # noqa: PLR0913 - one for each option
    *, execution: str, db: Path | None, server: str | None, token: str | None, as_json: bool, follow: bool
) -> int:
    """Print the event log of the execution ID; with --json one object a line."""
    session.run(_print(Target.of(db, server, token), execution, as_json=as_json, follow=follow))
    return 0


async def _print(target: Target, text: str, *, as_json: bool, follow: bool) -> None:
    async with target.connect() as client:
        execution_id = await resolve(client, text)
        await _pages(client, execution_id, as_json=as_json, follow=follow)


async def _pages(client: Client, execution_id: str, *, as_json: bool, follow: bool) -> None:
    seq = 0
    terminal = out()
    while True:
        wait = PATIENCE_SECONDS if follow else 0
        events = await client.events(execution_id, after=seq, wait_seconds=wait)
        for event in events:
            seq = event.seq
            if as_json:
                click.echo(encode(event).decode())
            else:
                terminal.line(fitted(line(event), terminal))
        if any(isinstance(event, ExecutionEnded) for event in events):
            follow = False
        if not events and not follow:
            return


def fitted(text: str, terminal: Terminal) -> str:
    """One line of the terminal for each event; a pipe gets it uncut."""
    fits = not terminal.tty or len(text) <= terminal.width
    return text if fits else text[: terminal.width - 1] + "…"


def line(event: Event) -> str:
    """`12  12:03:04  call.parked  train 1f3a5b7c  {...}`."""
    fields = msgspec.to_builtins(event)
    rest = {key: value for key, value in fields.items() if key not in COMMON}
    who = " ".join(part for part in (fields.get("step", ""), fields.get("call_id", "")[:8]) if part)
    head = f"{event.seq:>5}  {time_of_day(event.at)}  {type_of(event):<26}  {who}"
    return f"{head}  {compact(rest, LENGTH)}".rstrip() if rest else head.rstrip()
