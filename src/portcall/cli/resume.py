"""`portcall resume`: go on with executions that were interrupted, in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from portcall.cli import embedded, options, report, session
from portcall.cli.driving import EngineOptions, drive, ended, interrupted
from portcall.cli.target import LISTED, resolve
from portcall.cli.terminal import out
from portcall.errors import ConflictError
from portcall.model.api import ExecutionView


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOptions(EngineOptions):
    execution: str | None = None


@click.command("resume")
@click.argument("execution", metavar="[ID]", required=False)
@options.engine
def command(**given: Any) -> int:
    """Go on with the execution ID, or with all that are unfinished.

    ID is an id, the start or end of one, or `last`. Containers that went on meanwhile are not
    run again. With --json: the object that `run --json` prints, or, for none and for several,
    an object with the list `executions`.
    """
    resume = ResumeOptions(**given)
    embedded.require_runtime(resume.runtime)
    ids: list[str] = []
    try:
        views = session.run(_resume(resume, ids))
    except session.Interrupted:
        return interrupted(ids, resume.target)
    return ended(views, as_json=resume.as_json)


async def _resume(resume: ResumeOptions, ids: list[str]) -> list[ExecutionView]:
    if resume.execution is None:
        ids += await _unfinished(resume)
        if not ids:
            if not resume.as_json:
                click.echo(f"Nothing is unfinished in {resume.target.db}.")
            return []
    else:
        over = await _named(resume, resume.execution, ids)
        if over is not None:
            return [over]
    async with resume.engine() as engine:
        return await drive(engine, ids, resume)


async def _unfinished(resume: ResumeOptions) -> list[str]:
    """The ids of what has not ended and nobody drives."""
    db = resume.target.db
    if not db.is_file():
        return []
    async with embedded.store(db) as client:
        summaries = await client.executions(LISTED)
    found = [each.execution_id for each in reversed(summaries) if each.status not in report.ENDED]
    free = []
    for execution_id in found:
        owner = await embedded.owner_of(db, execution_id)
        if owner is None:
            free.append(execution_id)
        else:
            click.echo(f"Execution {execution_id} is run by process {owner}: left to it.", err=True)
    return free


async def _named(resume: ResumeOptions, text: str, ids: list[str]) -> ExecutionView | None:
    """The view of the execution if it has ended; else None, and its id goes to `ids`."""
    target = resume.target
    async with target.connect() as client:
        execution_id = await resolve(client, text)
        view = await client.execution(execution_id)
        if view.status in report.ENDED:
            if not resume.as_json:
                click.echo(f"Execution {execution_id} has ended already.")
                await report.report(client, view, out(), target.options)
            return view
    owner = await embedded.owner_of(target.db, execution_id)
    if owner is not None:
        look = report.command("show", execution_id, target.options)
        raise ConflictError(f"Execution {execution_id} is run by process {owner} already; see it with: {look}")
    ids.append(execution_id)
    return None
