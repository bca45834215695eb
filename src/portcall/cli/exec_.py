"""`portcall exec`: start a registered playbook on a server, and by default wait for its end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click

from portcall.cli import options, report, session
from portcall.cli.cancel import until_ended
from portcall.cli.display import mode, showing
from portcall.cli.driving import ended
from portcall.cli.inputs import workload
from portcall.cli.main import INTERRUPTED
from portcall.cli.target import Target
from portcall.cli.terminal import err, out
from portcall.cli.text import pretty
from portcall.ids import new_execution_id
from portcall.model.api import ExecutionView, StartRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    path: str
    assignments: tuple[str, ...] = ()
    input_file: str | None = None
    server: str | None = None
    token: str | None = None
    as_json: bool = False
    quiet: bool = False
    no_wait: bool = False


@click.command("exec")
@click.argument("path")
@options.values
@options.server
@options.as_json
@click.option("--quiet", "-q", is_flag=True, help="Show nothing while it runs.")
@click.option("--no-wait", is_flag=True, help="Return when it has started.")
def command(**given: Any) -> int:
    """Start the registered playbook PATH on a server, and show it to its end.

    Exit codes as of `portcall run`. An interrupt ends the showing, not the execution.
    """
    chosen = ExecOptions(**given)
    target = Target.at_server(chosen.server, chosen.token)
    request = StartRequest(
        path=chosen.path,
        workload=workload(chosen.assignments, chosen.input_file),
        execution_id=new_execution_id(),
        traceparent=os.environ.get("TRACEPARENT", ""),
    )
    try:
        view = session.run(_exec(target, request, chosen))
    except session.Interrupted:
        look = report.command("show", request.execution_id, target.options)
        click.echo(f"portcall: no longer watching, the execution goes on; see it with: {look}", err=True)
        return INTERRUPTED
    return 0 if view is None else ended([view], as_json=chosen.as_json)


async def _exec(target: Target, request: StartRequest, chosen: ExecOptions) -> ExecutionView | None:
    """The last view; None when nobody waits for it."""
    terminal = err() if chosen.as_json else out()
    async with target.connect() as client:
        execution_id = await client.start(request)
        if chosen.no_wait:
            _started(execution_id, target, as_json=chosen.as_json)
            return None
        how = mode(terminal, executions=1, quiet=chosen.quiet, as_json=chosen.as_json)
        async with showing(client, [execution_id], how, terminal):
            view = await until_ended(client, execution_id, patient=True)
        if not chosen.as_json:
            await report.report(client, view, terminal, target.options)
        return view


def _started(execution_id: str, target: Target, *, as_json: bool) -> None:
    if as_json:
        click.echo(pretty({"execution_id": execution_id, "status": "running"}))
    else:
        click.echo(
            f"Started {execution_id}; see it with: {report.command('show', execution_id, target.options)}"
        )
