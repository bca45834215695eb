"""Leave an execution to a process of its own: `run --detach`.

The execution is put into the store here, and `portcall resume` drives it there: a crash between
the two leaves an execution that any later `resume` takes up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import msgspec

from portcall.cli import embedded, session
from portcall.cli.driving import EngineOptions, interrupted
from portcall.cli.inputs import CREDENTIAL_VARIABLE
from portcall.cli.report import command
from portcall.cli.text import pretty
from portcall.model.api import StartRequest


def detach(options: EngineOptions, request: StartRequest) -> int:
    """Starts the execution and the process; says how to look at it. The exit code."""
    credentials = options.named_credentials()
    try:
        execution_id = session.run(_start(options, request))
    except session.Interrupted:
        return interrupted([], options.target)
    log = options.target.db.absolute().parent / f"{execution_id}.log"
    secrets = {
        CREDENTIAL_VARIABLE + name: msgspec.json.encode(each).decode() for name, each in credentials.items()
    }
    pid = _spawn(_arguments(options, execution_id), log, secrets)
    if options.as_json:
        click.echo(pretty({"execution_id": execution_id, "status": "running", "pid": pid, "log": str(log)}))
        return 0
    click.echo(f"Execution {execution_id} runs in process {pid}; its output: {log}")
    for name in ("show", "logs", "cancel"):
        click.echo(f"  {command(name, execution_id, options.target.options)}")
    return 0


async def _start(options: EngineOptions, request: StartRequest) -> str:
    async with embedded.store(embedded.prepare(options.target.db)) as client:
        return await client.start(request)


def _arguments(options: EngineOptions, execution_id: str) -> list[str]:
    arguments = ["resume", execution_id, "--db", str(options.target.db.absolute())]
    arguments += ["--slots", str(options.slots), "--runtime", options.runtime]
    if options.log_level is not None:
        arguments += ["--log-level", options.log_level, "--log-format", options.log_format]
    return arguments + (["--catalog", str(options.catalog.absolute())] if options.catalog else [])


def _spawn(arguments: list[str], log: Path, secrets: dict[str, str]) -> int:
    """The pid of a portcall in a session of its own. Secrets go by the environment: flags can be seen."""
    # -P: modules of the current folder must not be imported in place of real ones.
    line = [sys.executable, "-P", "-m", "portcall.cli", *arguments]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            line,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            env=os.environ | secrets,
        )
    finally:
        os.close(descriptor)
    pid = process.pid
    # Nobody waits for it here: told so, the destructor does not warn.
    process.returncode = 0
    return pid
