"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Count(click.IntRange):
    """A whole number within bounds, and said so."""

    name = "whole number"


def db(function: F) -> F:
    return click.option(
        "--db",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The SQLite database. [PORTCALL_DB; default: .portcall/portcall.db]",
    )(function)


def server(function: F) -> F:
    """`--server` and `--token`, where an execution on a server is meant."""
    token = click.option("--token", help="Token of the server. [PORTCALL_TOKEN, PORTCALL_TOKEN_FILE]")
    url = click.option("--server", metavar="URL", help="The server. [PORTCALL_SERVER]")
    return url(token(function))


def target(function: F) -> F:
    """Where executions are: a database here, or a server."""
    return db(server(function))


def as_json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on stdout.")(
        function
    )


def values(function: F) -> F:
    """`--set` and `--input`: the workload that a caller gives."""
    assign = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="A workload value; dotted keys reach inside, values are read as YAML scalars or JSON.",
    )
    file = click.option(
        "--input", "input_file", metavar="FILE", help="Workload values as YAML or JSON; --set goes over them."
    )
    return assign(file(function))


def engine(function: F) -> F:
    """How executions are driven in this process."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Show nothing while it runs."),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            envvar="PORTCALL_LOG_LEVEL",
            help="Write log records from this level on to stderr; none if not given. [PORTCALL_LOG_LEVEL]",
        ),
        click.option(
            "--log-format",
            type=click.Choice(["console", "json"]),
            envvar="PORTCALL_LOG_FORMAT",
            default="console",
            help="Log records for people, or one JSON object a line. [PORTCALL_LOG_FORMAT]",
        ),
        as_json,
        db,
        click.option(
            "--slots",
            type=Count(1, 10_000),
            default=4,
            show_default=True,
            help="Commands that run at once; containers in flight take none.",
        ),
        click.option(
            "--runtime",
            type=click.Choice(["process", "docker", "kubernetes"]),
            default="process",
            show_default=True,
            help="Where containers run; this version has only process.",
        ),
        click.option(
            "--credential",
            "credentials",
            multiple=True,
            metavar="NAME=FILE|JSON",
            help="A credential that the playbook names. [PORTCALL_CREDENTIAL_<NAME>]",
        ),
        click.option(
            "--catalog",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="A folder of playbooks that this one may call by their paths.",
        ),
    ):
        function = option(function)
    return function
