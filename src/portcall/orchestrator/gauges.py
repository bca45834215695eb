"""How the store stands now, for one scrape of the metrics: read anew each time, in bounded queries."""

from __future__ import annotations

from dataclasses import dataclass

from portcall.observe import metrics
from portcall.store.port import Transaction

MOST = 100_000
"""Rows that one query goes through, so that the writer is not held up: no gauge counts beyond."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """Ages in seconds."""

    open: int
    """Executions."""
    parked: list[tuple[str, int, int]]
    """Runtime, its parked calls, those of them that are overdue."""
    commands: dict[str, int]
    """By state: ready, delayed, held."""
    oldest: float
    late: float


def read(tx: Transaction, now: float) -> Gauges:
    queued, due = tx.one("oldest_command", now=now), tx.one("next_timer")[0]
    return Gauges(
        open=tx.one("open_count", most=MOST)[0],
        parked=[(runtime, count, int(late)) for runtime, count, late in tx.all("parked_counts", most=MOST)],
        commands=dict(tx.all("command_counts", now=now, most=MOST)),
        oldest=max(0.0, now - queued[0]) if queued else 0.0,
        late=0.0 if due is None else max(0.0, now - due),
    )


def show(now: Gauges) -> None:
    metrics.gauge("store_up", 1)
    metrics.gauge("executions_open", now.open)
    for name in ("calls_outside", "calls_overdue"):
        metrics.clear(name)  # a runtime without calls is in no row
    for runtime, count, late in now.parked:
        metrics.gauge("calls_outside", count, runtime=runtime)
        metrics.gauge("calls_overdue", late, runtime=runtime)
    for state in ("ready", "delayed", "held"):
        metrics.gauge("commands", now.commands.get(state, 0), state=state)
    metrics.gauge("commands_oldest_seconds", now.oldest)
    metrics.gauge("timers_late_seconds", now.late)
