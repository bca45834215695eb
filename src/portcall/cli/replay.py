"""`portcall replay`: fold the event log again, and compare with what is stored."""

from __future__ import annotations

from pathlib import Path

import click

from portcall.cli import embedded, options, session
from portcall.cli.target import default_db, resolve
from portcall.cli.text import clean, plural


@click.command("replay")
@click.argument("execution", metavar="ID")
@options.db
def command(*, execution: str, db: Path | None) -> int:
    """Fold the log of the execution ID again and compare. Exit code 1 when it differs."""
    execution_id, found = session.run(_replay(db or default_db(), execution))
    if found.same:
        click.echo(f"Execution {execution_id}: {plural(found.events, 'event')} fold to the same state.")
        return 0
    click.echo(f"Execution {execution_id}: {plural(found.events, 'event')} fold to another state:")
    for difference in found.differences:
        click.echo(f"  {clean(difference)}")
    return 1


async def _replay(db: Path, text: str) -> tuple[str, embedded.ReplayReport]:
    async with embedded.store(embedded.existing(db)) as client:
        execution_id = await resolve(client, text)
        return execution_id, await client.replay(execution_id)
