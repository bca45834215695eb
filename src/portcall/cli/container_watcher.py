"""`portcall container-watcher`: reports the ends of containers to a server."""

from __future__ import annotations

from typing import Any

import click

from portcall.cli import serving


@click.command("container-watcher")
@serving.flags(
    *serving.CLIENT,
    "runtime",
    "runtime_root",
    "comparison_seconds",
    "lost_confirm_seconds",
    "lease_seconds",
    "retention_seconds",
    *serving.METRICS,
    *serving.LOGGING,
)
def command(**given: Any) -> int:
    """Watch the containers of one runtime for a server, until SIGTERM."""
    from portcall import app

    return serving.serve(app.run_watcher, given)
