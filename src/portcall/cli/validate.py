"""`portcall validate`: every problem of a playbook at once, each with its place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from portcall.cli import options, problems
from portcall.cli.inputs import read_text
from portcall.cli.terminal import out
from portcall.cli.text import plural, pretty

if TYPE_CHECKING:
    from portcall.playbook.model import Playbook


@click.command("validate")
@click.argument("file")
@options.as_json
def command(*, file: str, as_json: bool) -> int:
    """Check the playbook FILE (`-`: stdin).

    Exit code 0 when it can run (warnings and notes do not count), 2 when it cannot.
    """
    from portcall.app import load_playbook
    from portcall.playbook.problems import PlaybookError
    from portcall.playbook.problems import as_json as problems_json

    text = read_text(file, "Playbook")
    try:
        playbook = load_playbook(text, "<stdin>" if file == "-" else file)
    except PlaybookError as error:
        if as_json:
            click.echo(pretty({"valid": False, "problems": problems_json(error.problems), "notes": []}))
        else:
            _show(error, text)
        return error.exit_code
    if as_json:
        facts = {"valid": True, "problems": [], "notes": playbook.notes, "playbook": _facts(playbook)}
        click.echo(pretty(facts))
        return 0
    for note in playbook.notes:
        click.echo(note)
    click.echo(_summary(playbook))
    return 0


def _show(error: Any, text: str) -> None:
    from portcall.playbook.problems import show

    terminal = out()
    terminal.line(show(error.problems, text, color=terminal.color).rstrip())
    terminal.line()
    terminal.line(problems.count(error))


def _facts(playbook: Playbook) -> dict[str, Any]:
    return {
        "name": playbook.name,
        "path": playbook.path,
        "version": playbook.version,
        "digest": playbook.digest,
        "steps": {name: [tool.kind for tool in step.tools] for name, step in playbook.steps.items()},
    }


def _summary(playbook: Playbook) -> str:
    """`demo/train: right; 5 steps (3 container, 2 python), 1 loop`."""
    kinds = Counter(tool.kind for step in playbook.steps.values() for tool in step.tools)
    loops = sum(step.loop is not None for step in playbook.steps.values())
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    more = f", {plural(loops, 'loop')}" if loops else ""
    return f"{playbook.path or playbook.name}: right; {plural(len(playbook.steps), 'step')} ({counted}){more}"
