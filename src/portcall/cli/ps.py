"""`portcall ps`: the executions, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from portcall.cli import options, session
from portcall.cli.target import Target
from portcall.cli.terminal import out
from portcall.cli.text import clean, date_and_time, elapsed, pretty
from portcall.model.api import ExecutionSummary


@click.command("ps")
@options.target
@options.as_json
@click.option(
    "--limit", "-n", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many."
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
        out().table(
            ("ID", "PLAYBOOK", "STATUS", "STARTED", ">ELAPSED", ">PARKED"),
            [_row(summary, now) for summary in summaries],
        )
    return 0


async def _list(target: Target, limit: int) -> list[ExecutionSummary]:
    async with target.connect() as client:
        return await client.executions(limit)


def _row(summary: ExecutionSummary, now: datetime) -> tuple[str, ...]:
    return (
        summary.execution_id,
        clean(summary.path),
        summary.status,
        date_and_time(summary.started),
        elapsed(summary.started, summary.ended, now),
        str(summary.parked) if summary.parked else "",
    )
