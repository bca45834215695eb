"""`portcall ps`: the executions, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from portcall.cli import options, session
from portcall.cli.target import Target
from portcall.cli.terminal import Terminal, out
from portcall.cli.text import clean, date_and_time, elapsed, pretty
from portcall.model.api import ExecutionSummary

NARROW = 100


@click.command("ps")
@options.target
@options.as_json
@click.option(
    "--limit", "-n", type=options.Count(1, 10_000), default=50, show_default=True, help="At most so many."
)
def command(*, db: Path | None, server: str | None, token: str | None, as_json: bool, limit: int) -> int:
    """List executions, newest first."""
    target = Target.of(db, server, token)
    there = bool(target.server) or target.db.is_file()
    summaries = session.run(_list(target, limit)) if there else []
    if as_json:
        click.echo(pretty(msgspec.to_builtins(summaries)))
    elif not summaries:
        click.echo(f"No execution in {target.server or target.db} yet; start one with: portcall run FILE")
    else:
        now = datetime.now(UTC)
        _table(summaries, now, out())
    return 0


async def _list(target: Target, limit: int) -> list[ExecutionSummary]:
    async with target.connect() as client:
        return await client.executions(limit)


def _table(summaries: list[ExecutionSummary], now: datetime, terminal: Terminal) -> None:
    """A narrow terminal gets no dates of today, and none a column of nothing parked."""
    short = terminal.tty and terminal.width < NARROW
    parked = not terminal.tty or any(summary.parked for summary in summaries)
    columns = ("ID", "PLAYBOOK", "STATUS", "STARTED", ">ELAPSED", *((">PARKED",) if parked else ()))
    cells = [_row(summary, now, short=short)[: len(columns)] for summary in summaries]
    terminal.table(columns, cells)


def _row(summary: ExecutionSummary, now: datetime, *, short: bool) -> tuple[str, ...]:
    started = date_and_time(summary.started)
    if short:
        day, _, time = started.partition(" ")
        started = time if day == date_and_time(now).partition(" ")[0] else day
    return (
        summary.execution_id,
        clean(summary.path),
        summary.status,
        started,
        elapsed(summary.started, summary.ended, now),
        str(summary.parked) if summary.parked else "",
    )
