"""`portcall show`: one execution, its steps, and how each of its containers ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from portcall.cli import options, report, session
from portcall.cli.calls import Call, all_events, calls_of
from portcall.cli.rows import MARK
from portcall.cli.target import Target, resolve
from portcall.cli.terminal import STYLE, Terminal, out
from portcall.cli.text import clean, duration, pretty, time_of_day
from portcall.model.api import ExecutionView
from portcall.model.outcome import Outcome, Timings

MOST = 50
"""Outcomes shown; those that failed come first into the choice."""


@click.command("show")
@click.argument("execution", metavar="ID")
@options.target
@options.as_json
def command(*, execution: str, db: Path | None, server: str | None, token: str | None, as_json: bool) -> int:
    """Show the execution ID: its steps, and the outcome of each container.

    ID is an id, the start or end of one, or `last`. With --json: the object that `run --json` prints.
    """
    target = Target.of(db, server, token)
    view, calls = session.run(_read(target, execution, with_calls=not as_json))
    if as_json:
        click.echo(pretty(report.as_json(view)))
        return 0
    terminal = out()
    report.summary(view, terminal)
    for line in report.results(view, terminal, target.options):
        terminal.line(line)
    for line in outcomes(list(calls.values()), terminal):
        terminal.line(line)
    known = {step.error.message for step in view.steps.values() if step.error is not None}
    if view.error is not None and view.error.message not in known:
        terminal.line()
        for line in terminal.wrap(clean(view.error.message)):
            terminal.line(terminal.paint(line, "red"))
    return 0


async def _read(target: Target, text: str, *, with_calls: bool) -> tuple[ExecutionView, dict[str, Call]]:
    async with target.connect() as client:
        execution_id = await resolve(client, text)
        view = await client.execution(execution_id)
        return view, calls_of(await all_events(client, execution_id)) if with_calls else {}


def outcomes(calls: list[Call], terminal: Terminal) -> Iterator[str]:
    """The outcomes of containers, in the order of their calls."""
    ended = [(call, call.done.outcome) for call in calls if call.done and call.done.outcome]
    if not ended:
        return
    ranked = sorted(range(len(ended)), key=lambda index: (ended[index][1].state == "succeeded", index))
    chosen = sorted(ranked[:MOST])
    yield ""
    yield terminal.paint("Outcomes", bold=True)
    for index in chosen:
        yield from _outcome(*ended[index], terminal)
    if len(ended) > len(chosen):
        yield f"  ... and {len(ended) - len(chosen)} more; portcall events --json has them all"


def _outcome(call: Call, outcome: Outcome, terminal: Terminal) -> Iterator[str]:
    mark = "completed" if outcome.state == "succeeded" else "failed"
    facts = [f"{MARK[mark]} {outcome.state}"]
    if outcome.exit_code is not None:
        facts.append(f"exit {outcome.exit_code}")
    facts += [f"signal {outcome.signal}"] if outcome.signal is not None else []
    facts += [clean(outcome.reason)] if outcome.reason else []
    facts += [clean(outcome.node)] if outcome.node else []
    facts.append(f"evidence {outcome.evidence.level}")
    for line in terminal.wrap(f"{clean(call.name)}: {' · '.join(facts)}", "  ", "    "):
        yield line.replace(facts[0], terminal.paint(facts[0], STYLE[mark]))
    if outcome.message and outcome.state != "succeeded":
        yield from terminal.wrap(clean(outcome.message), "      ")
    for warning in outcome.warnings:
        yield from terminal.wrap(f"warning: {clean(warning)}", "      ", "  ")
    timings = _timings(outcome.timings)
    if timings:
        yield from (terminal.paint(line, "bright_black") for line in terminal.wrap(timings, "      "))
    if outcome.job is not None and outcome.job.name:
        yield f"      {terminal.paint(f'{outcome.job.runtime} {clean(outcome.job.name)}', 'bright_black')}"


def _timings(timings: Timings) -> str:
    """`created 12:03:04 · started +0.1s · finished +3.2s`: each after the one before."""
    parts: list[str] = []
    before = None
    for name in ("created", "suspended", "scheduled", "pulled", "started", "finished", "observed"):
        at = getattr(timings, name)
        if at is not None:
            gap = time_of_day(at) if before is None else f"+{duration((at - before).total_seconds())}"
            parts.append(f"{name} {gap}")
            before = at
    return " · ".join(parts)
