"""`portcall run`: one playbook, from its text to its end, in this process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click

from portcall.cli import embedded, options, problems, report, session
from portcall.cli.driving import EngineOptions, drive, ended, interrupted
from portcall.cli.inputs import read_text, workload
from portcall.errors import UnavailableError, UsageError
from portcall.ids import new_execution_id
from portcall.model.api import ExecutionView, StartRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(EngineOptions):
    file: str
    assignments: tuple[str, ...] = ()
    input_file: str | None = None
    detach: bool = False


@click.command("run")
@click.argument("file")
@options.values
@options.engine
@click.option("--detach", "-d", is_flag=True, help="Leave it running in the background.")
def command(**given: Any) -> int:
    """Run the playbook FILE (`-`: stdin) to its end.

    Exit codes: 0 completed, 1 failed or cancelled, 2 the playbook or the arguments are wrong,
    3 portcall could not go on, 130 interrupted: `portcall resume` goes on.
    """
    run = RunOptions(**given)
    embedded.require_runtime(run.runtime)
    text = read_text(run.file, "Playbook")
    if not text.strip():
        raise UsageError(f"Playbook {run.file} is empty.")
    request = StartRequest(
        playbook=text,
        file="<stdin>" if run.file == "-" else run.file,
        workload=workload(run.assignments, run.input_file),
        execution_id=new_execution_id(),
        traceparent=os.environ.get("TRACEPARENT", ""),
    )
    with problems.shown(text):
        if run.detach:
            from portcall.cli.detach import detach

            return detach(run, request)
        return _here(run, request)


def _here(run: RunOptions, request: StartRequest) -> int:
    started: list[str] = []
    try:
        view = session.run(_run(run, request, started))
    except session.Interrupted:
        return interrupted(started, run.target)
    except UnavailableError as error:
        if not started:
            raise
        how = report.command("resume", started[0], run.target.options)
        raise UnavailableError(f"{error.message.rstrip('.')}; then go on with: {how}") from error
    return ended([view], as_json=run.as_json)


async def _run(run: RunOptions, request: StartRequest, started: list[str]) -> ExecutionView:
    async with run.engine() as engine:
        started.append(await engine.client.start(request))
        (view,) = await drive(engine, started, run)
    return view
