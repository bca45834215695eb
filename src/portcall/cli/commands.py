"""The list of commands, with the line that `--help` shows: no command is imported to be listed."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import click


class Entry(NamedTuple):
    module: str
    """Below `portcall.cli`; its object `command` is the command."""
    help: str
    section: str
    example: str
    another: str = ""


RUN, LOOK, SERVE = "Run playbooks here", "Look and steer", "Separate processes"

COMMANDS: dict[str, Entry] = {
    "run": Entry("run", "Run a playbook to its end.", RUN, "portcall run train.yaml --set epochs=5 --slots 2"),
    "resume": Entry(
        "resume",
        "Go on with what was interrupted.",
        RUN,
        "portcall resume",
        "portcall resume last --db .portcall/demo.db",
    ),
    "validate": Entry(
        "validate", "Check a playbook and show every problem in it.", RUN, "portcall validate train.yaml"
    ),
    "schema": Entry(
        "schema",
        "Print a JSON Schema: playbook, event or outcome.",
        RUN,
        "portcall schema > playbook.schema.json",
    ),
    "ps": Entry("ps", "List executions.", LOOK, "portcall ps -n 10"),
    "show": Entry(
        "show",
        "Show one execution: steps, containers, outcomes.",
        LOOK,
        "portcall show last",
        "portcall show 7301 --json",
    ),
    "events": Entry("events", "Print the event log of an execution.", LOOK, "portcall events last -f"),
    "logs": Entry("logs", "Print what the steps of an execution wrote.", LOOK, "portcall logs last train -f"),
    "cancel": Entry(
        "cancel",
        "Cancel an execution and stop its containers.",
        LOOK,
        "portcall cancel last --reason 'wrong input'",
    ),
    "replay": Entry(
        "replay", "Fold the event log again and compare with the stored state.", LOOK, "portcall replay last"
    ),
    "server": Entry(
        "server",
        "Serve the HTTP API over a database.",
        SERVE,
        "portcall server --db /var/lib/portcall/portcall.db --token-file token",
    ),
    "worker": Entry(
        "worker",
        "Claim commands from a server and run tools.",
        SERVE,
        "portcall worker --server http://127.0.0.1:8642 --slots 8",
    ),
    "container-watcher": Entry(
        "container_watcher",
        "Report the ends of containers to a server.",
        SERVE,
        "portcall container-watcher --server http://127.0.0.1:8642",
    ),
    "register": Entry(
        "register",
        "Put a playbook into the catalog of a server.",
        SERVE,
        "portcall register train.yaml --server http://127.0.0.1:8642",
    ),
    "exec": Entry(
        "exec_",
        "Start a registered playbook on a server.",
        SERVE,
        "portcall exec demo/train --set epochs=5 --server http://127.0.0.1:8642",
    ),
}


class UnreadError(Exception):
    """Nobody reads the output any more."""


class LazyGroup(click.Group):
    """Imports a command's module when that command is used, and not before."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click would exit with 1, which here says that an execution failed.
            raise UnreadError from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = importlib.import_module(f"portcall.cli.{entry.module}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"portcall.cli.{entry.module}.command is no command")
        examples = [f"  {text}" for text in (entry.example, entry.another) if text]
        # The \b keeps click from filling the lines up.
        command.epilog = "\n".join(["\b", "Example:" if len(examples) == 1 else "Examples:", *examples])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            ctx.fail(f"There is no command {name!r}.{_did_you_mean(name)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        for section in (RUN, LOOK, SERVE):
            with formatter.section(section):
                rows = [(name, entry.help) for name, entry in COMMANDS.items() if entry.section == section]
                formatter.write_dl(rows, col_max=20)


def _did_you_mean(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
