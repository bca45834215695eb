"""`portcall worker`: claims commands from a server and runs tools in its slots."""

from __future__ import annotations

from typing import Any

import click

from portcall.cli import serving


@click.command("worker")
@serving.flags(
    *serving.CLIENT,
    "slots",
    "worker_id",
    "runtime",
    "runtime_root",
    "lease_seconds",
    "drain_seconds",
    *serving.METRICS,
    *serving.LOGGING,
)
def command(**given: Any) -> int:
    """Run tools for a server, until SIGTERM."""
    from portcall import app

    return serving.serve(app.run_worker, given)
