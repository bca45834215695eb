"""Drive executions in this process and say how they ended: what `run`, `resume` and `cancel` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from portcall.cli import embedded, report
from portcall.cli.display import mode, showing
from portcall.cli.inputs import credentials
from portcall.cli.main import INTERRUPTED
from portcall.cli.target import Target, default_db
from portcall.cli.terminal import err, out
from portcall.cli.text import pretty
from portcall.model.api import ExecutionView


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The options of `options.engine`, as given."""

    db: Path | None = None
    slots: int = 4
    runtime: str = "process"
    credentials: tuple[str, ...] = ()
    catalog: Path | None = None
    quiet: bool = False
    as_json: bool = False
    log_level: str | None = None
    log_format: Literal["console", "json"] = "console"

    @property
    def target(self) -> Target:
        return Target(self.db or default_db())

    def named_credentials(self) -> dict[str, dict[str, Any]]:
        import os

        return credentials(self.credentials, os.environ)

    def engine(self) -> embedded.EngineContext:
        if self.log_level is not None:
            from portcall.observe import logging

            logging.configure(self.log_level, self.log_format)
        return embedded.engine(
            self.target.db,
            runtime=self.runtime,
            slots=self.slots,
            credentials=self.named_credentials(),
            catalog=self.catalog,
        )


async def drive(engine: embedded.Engine, ids: list[str], options: EngineOptions) -> list[ExecutionView]:
    """Works until the executions have ended, showing them; their last views."""
    terminal = err() if options.as_json else out()
    how = mode(terminal, executions=len(ids), quiet=options.quiet, as_json=options.as_json)
    async with showing(engine.client, ids, how, terminal, lambda: (engine.busy, engine.slots)):
        await engine.drive(set(ids))
    views = [await engine.client.execution(each) for each in ids]
    if not options.as_json:
        for view in views:
            if how != "live":
                terminal.line()
            await report.report(engine.client, view, terminal, options.target.options)
    return views


def ended(views: list[ExecutionView], *, as_json: bool) -> int:
    """The exit code. With `as_json` the object: of the one execution, or a list of all under `executions`."""
    if as_json:
        objects = [report.as_json(view) for view in views]
        click.echo(pretty(objects[0] if len(objects) == 1 else {"executions": objects}))
    return max((report.exit_code(view) for view in views), default=0)


def interrupted(ids: list[str], target: Target) -> int:
    """Says how to go on; the exit code."""
    click.echo(f"portcall: interrupted{'; containers go on. Resume with:' if ids else ''}", err=True)
    for each in ids:
        click.echo(f"  {report.command('resume', each, target.options)}", err=True)
    return INTERRUPTED
