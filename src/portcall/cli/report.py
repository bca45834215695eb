"""What is said when an execution has ended: results, failures with their logs, what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from portcall.cli.calls import all_events, calls_of, log_tails
from portcall.cli.outline import essence, outline
from portcall.cli.rows import MARK, header, rows
from portcall.cli.terminal import STYLE, Terminal
from portcall.cli.text import clean
from portcall.client.port import Client
from portcall.model.api import ExecutionView, StepView

TAIL_LINES = 20
RESULTS = 3
RESULT_LINES = 24
ROWS = 40
"""Steps in the table at the end of a run; `portcall show` has them all."""
ENDED = frozenset({"completed", "failed", "cancelled"})


def exit_code(view: ExecutionView) -> int:
    """0 for what is completed or still goes on, 1 for what failed or was cancelled."""
    return int(view.status in {"failed", "cancelled"})


def as_json(view: ExecutionView) -> dict[str, Any]:
    """The object that `run --json` prints; JSON data."""
    result: dict[str, Any] = msgspec.to_builtins(
        {
            "execution_id": view.execution_id,
            "status": view.status,
            "steps": {name: _step_json(step) for name, step in view.steps.items()},
            "error": view.error,
            "duration_s": round(view.duration_s, 3),
        }
    )
    return result


def _step_json(step: StepView) -> dict[str, Any]:
    data = {"status": step.status, "data": step.data, "attempts": step.attempts}
    return data | ({"outcome": step.outcome} if step.outcome is not None else {})


async def report(client: Client, view: ExecutionView, terminal: Terminal, target: list[str]) -> None:
    """Prints the end of an execution. `target`: the options that name the database or server."""
    tails: Mapping[str, str] = {}
    if view.status == "failed":
        tails = log_tails(calls_of(await all_events(client, view.execution_id)))
    summary(view, terminal, ROWS)
    for line in results(view, terminal, target):
        terminal.line(line)
    for line in _failures(view, tails, terminal):
        terminal.line(line)
    for line in _next(view, terminal, target):
        terminal.line(line)


def summary(view: ExecutionView, terminal: Terminal, budget: int | None = None) -> None:
    """The header and the table of the steps, of at most `budget` lines."""
    now = datetime.now(UTC)
    mark = terminal.paint(MARK[view.status], STYLE[view.status])
    terminal.line(f"{mark} {terminal.paint(header(view, now), bold=True)}")
    terminal.line()
    terminal.steps(rows(view, now, budget))


def results(view: ExecutionView, terminal: Terminal, target: list[str]) -> Iterator[str]:
    """What a completed execution came to, on a bounded number of lines."""
    if view.status != "completed":
        return
    found = last_results(view)
    if found:
        yield ""
        yield terminal.paint("Results", bold=True)
    cut = False
    for name, data in found.items():
        lines = list(islice(outline({clean(name): data}, terminal.width - 2), RESULT_LINES + 1))
        yield from (f"  {line}" for line in lines[:RESULT_LINES])
        cut = cut or len(lines) > RESULT_LINES
    if cut:
        whole = f"... whole with: {command('show', view.execution_id, [*target, '--json'])}"
        yield terminal.paint(f"  {whole}", "bright_black")


def last_results(view: ExecutionView) -> dict[str, Any]:
    """By name what the steps gave after which nothing came, the last of them; else what came last of all."""
    done = {name: step for name, step in view.steps.items() if step.status == "completed" and step.data}
    ran = {name for name, step in view.steps.items() if step.started is not None}
    order = sorted(done, key=lambda name: done[name].ended or view.started)
    ends = [name for name in order if ran.isdisjoint(view.arcs.get(name, []))]
    return {name: essence(done[name].data) for name in (ends[-RESULTS:] or order[-1:])}


def _failures(view: ExecutionView, tails: Mapping[str, str], terminal: Terminal) -> Iterator[str]:
    failed = [(name, step) for name, step in view.steps.items() if step.status == "failed" and step.error]
    if view.status != "failed":
        return
    yield ""
    yield terminal.paint("Failed", "red", bold=True)
    if not failed and view.error is not None:
        yield from terminal.wrap(clean(view.error.message), "  ")
    for name, step in failed:
        message = step.error.message if step.error else ""
        yield from terminal.wrap(f"{clean(name)}: {clean(message)}", "  ", "  ")
        lines = tails.get(name, "").rstrip().splitlines()[-TAIL_LINES:]
        if lines:
            yield terminal.paint("    the end of its output:", "bright_black")
        for line in lines:
            yield f"    | {clean(line)}"


def _next(view: ExecutionView, terminal: Terminal, target: list[str]) -> Iterator[str]:
    local = "--server" not in target
    tries = [("show", "steps, containers and outcomes"), ("events", "the log that is the truth")]
    tries.append(("logs", "what the steps wrote"))
    if local and view.status in ENDED:
        tries.append(("replay", "fold the log again and compare"))
    yield ""
    yield terminal.paint("Next", bold=True)
    texts = {command(name, view.execution_id, target): f"# {what}" for name, what in tries}
    width = max(map(len, texts))
    fits = width + max(map(len, texts.values())) + 4 <= terminal.width
    for text, what in texts.items():
        yield f"  {text.ljust(width)}  {terminal.paint(what, 'bright_black')}" if fits else f"  {text}"


def command(name: str, execution_id: str, target: list[str]) -> str:
    """A command to type, such as `portcall show 7301 --db x.db`."""
    return shlex.join(["portcall", name, execution_id, *target])
