"""`portcall cancel`: cancel an execution, stop its containers, and wait for their ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from portcall.cli import embedded, options, report, session
from portcall.cli.driving import EngineOptions
from portcall.cli.main import INTERRUPTED
from portcall.cli.target import Target, resolve
from portcall.client.port import Client
from portcall.errors import ConflictError, UnavailableError
from portcall.model.api import ExecutionView

PATIENCE_SECONDS = 20.0
AWAY_SECONDS = 1.0


@click.command("cancel")
@click.argument("execution", metavar="ID")
@options.target
@click.option("--reason", default="", help="A word for the log.")
@click.option("--no-wait", is_flag=True, help="Return when the request is in the log.")
def command(  # noqa: PLR0913 - one for each option
    *, execution: str, db: Path | None, server: str | None, token: str | None, reason: str, no_wait: bool
) -> int:
    """Cancel the execution ID, and wait until it has ended.

    Its containers are asked to stop, and it ends when they have. Exit code 0 when it is cancelled.
    """
    target = Target.of(db, server, token)
    try:
        view = session.run(_cancel(target, execution, reason, wait=not no_wait))
    except session.Interrupted:
        click.echo("portcall: interrupted; the request to cancel stands", err=True)
        return INTERRUPTED
    click.echo(f"Execution {view.execution_id}: {view.status}.")
    return 0 if view.status in {"cancelled", "cancelling"} else 1


async def _cancel(target: Target, text: str, reason: str, *, wait: bool) -> ExecutionView:
    async with target.connect() as client:
        execution_id = await resolve(client, text)
        view = await client.execution(execution_id)
        if view.status == "cancelled":
            return view
        if view.status in report.ENDED:
            raise ConflictError(f"Execution {execution_id} has ended already: {view.status}.")
        await client.cancel(execution_id, reason)
        driven = bool(target.server) or await embedded.owner_of(target.db, execution_id) is not None
        if not wait:
            if not driven:
                resume = report.command("resume", execution_id, target.options)
                click.echo(f"No process runs it now; its containers are stopped by: {resume}", err=True)
            return await client.execution(execution_id)
        if driven:
            return await until_ended(client, execution_id, patient=bool(target.server))
    # Nobody is there to stop its containers: done here.
    async with EngineOptions(db=target.db).engine() as engine:
        await engine.drive({execution_id})
        return await engine.client.execution(execution_id)


async def until_ended(client: Client, execution_id: str, *, patient: bool) -> ExecutionView:
    """The execution's last view. With `patient`, a server that goes away is asked until it is back."""
    seq = 0
    told = False
    while True:
        try:
            view = await client.execution(execution_id, after=seq, wait_seconds=PATIENCE_SECONDS if seq else 0)
        except UnavailableError as error:
            if not patient:
                raise
            if not told:
                click.echo(f"portcall: {error.message} It is asked again until it answers.", err=True)
            told = True
            await asyncio.sleep(AWAY_SECONDS)
            continue
        if view.status in report.ENDED:
            return view
        seq, told = view.seq, False
