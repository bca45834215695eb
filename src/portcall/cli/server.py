"""`portcall server`: the HTTP API over a database; the only process that touches it."""

from __future__ import annotations

from typing import Any

import click

from portcall.cli import serving


@click.command("server")
@serving.flags(
    "db",
    "host",
    "port",
    "token",
    "token_file",
    "lease_seconds",
    "poll_seconds",
    "max_body_bytes",
    "max_batch",
    "max_requests",
    *serving.LOGGING,
)
def command(**given: Any) -> int:
    """Serve the HTTP API, until SIGTERM.

    It listens on this machine only, unless a token is set.
    """
    from portcall import app

    return serving.serve(app.run_server, given)
