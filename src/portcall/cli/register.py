"""`portcall register`: put a playbook into the catalog of a server."""

from __future__ import annotations

import click

from portcall.cli import options, problems, session
from portcall.cli.inputs import read_text
from portcall.cli.target import Target


@click.command("register")
@click.argument("file")
@options.server
def command(*, file: str, server: str | None, token: str | None) -> int:
    """Register the playbook FILE (`-`: stdin) under its metadata.path."""
    text = read_text(file, "Playbook")
    target = Target.at_server(server, token)
    with problems.shown(text, "registered"):
        path = session.run(_register(target, text, "<stdin>" if file == "-" else file))
    click.echo(f"Registered {path}; start it with: portcall exec {path}")
    return 0


async def _register(target: Target, text: str, file: str) -> str:
    async with target.connect() as client:
        return await client.register(text, file)
