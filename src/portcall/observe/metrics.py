"""Every metric of portcall, declared in one table; no-ops until `enable()`.

An execution or call id is never a label: a label's values must be few.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_log = logging.getLogger("portcall.metrics")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


Part = Literal["server", "worker", "watcher"]


@dataclass(frozen=True, slots=True)
class Metric:
    """Its exported name is `portcall_<name>`."""

    name: str
    kind: Literal["counter", "gauge", "seconds"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _BUCKETS
    begins: tuple[str, ...] = ()
    """Values of its one label that are there from the start, at 0: else their first increase is none."""

    @property
    def part(self) -> Part:
        """The process that counts it."""
        return (
            "worker" if self.name[:7] == "worker_" else "watcher" if self.name[:8] == "watcher_" else "server"
        )


_VERDICTS = ("accepted", "duplicate", "stale", "refused", "unknown")
_STATES = (
    *("succeeded", "failed", "failed_oom", "failed_timeout", "failed_result", "failed_image_pull"),
    *("failed_image_policy", "failed_config", "failed_rejected", "failed_quota", "failed_unschedulable"),
    *("failed_evicted", "failed_preempted", "failed_node_lost", "failed_deleted", "cancelled", "lost"),
)
METRICS: tuple[Metric, ...] = (
    # the server
    Metric("http_requests", "counter", "Requests answered.", ("route", "method", "status")),
    Metric("http_request_seconds", "seconds", "Time to answer, long polls left out.", ("route", "method")),
    Metric("http_active", "gauge", "Requests being worked on, long polls among them."),
    Metric("http_polls", "gauge", "Long polls that wait now."),
    Metric("http_refused", "counter", "Requests refused before any work.", ("reason",)),
    Metric(
        "events_received", "counter", "Events posted by workers and watchers.", ("verdict",), begins=_VERDICTS
    ),
    # the engine
    Metric("executions_started", "counter", "Executions begun."),
    Metric(
        "executions_ended",
        "counter",
        "Executions that have ended.",
        ("status",),
        begins=("completed", "failed", "cancelled"),
    ),
    Metric("calls_issued", "counter", "Calls put into the queue.", ("kind",)),
    Metric("calls_parked", "counter", "Calls that something outside has accepted.", ("runtime",)),
    Metric("calls_ended", "counter", "Calls that have ended.", ("kind", "status")),
    Metric("calls_repeated", "counter", "Calls that are another attempt, by what asked for it.", ("cause",)),
    Metric("calls_late", "counter", "Calls that became overdue."),
    Metric(
        "containers_ended",
        "counter",
        "Container calls that have ended, by their state.",
        ("state",),
        begins=_STATES,
    ),
    Metric("commands_deferred", "counter", "Commands given back, since the outside was away."),
    Metric("leases_expired", "counter", "Commands whose worker was gone before their end."),
    Metric("log_facts", "counter", "Facts written to the logs of executions."),
    Metric("log_bytes", "counter", "Bytes of these facts."),
    Metric(
        "store_commits",
        "counter",
        "Commits, each of a group of transactions.",
        ("result",),
        begins=("done", "failed"),
    ),
    Metric("store_transactions", "counter", "Transactions in these commits."),
    Metric("store_commit_seconds", "seconds", "Time of one commit, its transactions and the disk."),
    # the engine, read from the store for each scrape
    Metric("store_up", "gauge", "1 when the store could be read for this scrape, else 0."),
    Metric("executions_open", "gauge", "Executions that have not ended."),
    Metric("calls_outside", "gauge", "Calls that are parked now.", ("runtime",)),
    Metric("calls_overdue", "gauge", "Parked calls that are past their deadline.", ("runtime",)),
    Metric("commands", "gauge", "Commands that are ready, delayed, or held by a worker.", ("state",)),
    Metric("commands_oldest_seconds", "gauge", "How long the oldest ready command has been ready."),
    Metric("timers_late_seconds", "gauge", "How long the first timer has been due; 0 when none is."),
    # the worker
    Metric("worker_claims", "counter", "Commands claimed."),
    Metric("worker_calls", "counter", "Calls that the worker itself ended.", ("status",)),
    Metric("worker_parked", "counter", "Calls handed to something outside."),
    Metric("worker_deferred", "counter", "Calls given back, since the outside was away."),
    Metric("worker_outbox", "gauge", "Events that the server has not answered yet."),
    Metric("worker_server_errors", "counter", "Requests that the server did not answer.", ("request",)),
    # the watcher
    Metric("watcher_delivered", "counter", "Outcomes delivered.", ("verdict",), begins=_VERDICTS),
    Metric(
        "watcher_comparisons",
        "counter",
        "Comparisons of the open calls with the runtime.",
        ("result",),
        begins=("completed", "failed"),
    ),
    Metric("watcher_comparison_seconds", "seconds", "Time of one comparison.", buckets=_LONG),
    Metric("watcher_lost", "counter", "Calls judged lost."),
    Metric("watcher_stop_requests", "counter", "Calls that the runtime was asked to stop.", ("reason",)),
    Metric("watcher_observe_restarts", "counter", "Times the stream of observations ended or failed."),
    Metric(
        "watcher_alarms",
        "counter",
        "What a person should look at.",
        ("kind",),
        begins=("unknown", "refused", "vanished", "identity", "loop"),
    ),
)
_LABELS = {metric.name: set(metric.labels) for metric in METRICS}


class _Metrics:
    def __init__(self) -> None:
        self.registry: CollectorRegistry | None = None
        self.strict = False
        self.made: dict[str, Any] = {}
        self._missed: set[str] = set()

    def enable(self, part: Part | None, *, strict: bool) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self.strict = strict
        self.made.clear()
        self._missed.clear()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        for metric in METRICS:
            if part not in (None, metric.part):
                continue
            made = self.made[metric.name] = _make(metric, self.registry)
            for value in metric.begins:
                made.labels(value)

    def disable(self) -> None:
        self.registry = None

    def find(self, name: str, labels: dict[str, str]) -> Any:
        """The child for these labels; None when it was never declared."""
        declared = _LABELS.get(name)
        if declared == labels.keys():
            made = self.made.get(name)
            if made is None:  # it is another process's
                return None
            return made.labels(**labels) if labels else made
        if self.strict:
            raise LookupError(f"The metric {name!r} with the labels {sorted(labels)} is not declared.")
        if name not in self._missed:
            self._missed.add(name)
            _log.warning(
                "The metric %s with the labels %s is not declared and is left out.", name, sorted(labels)
            )
        return None


def _make(metric: Metric, registry: CollectorRegistry) -> Any:
    from prometheus_client import Counter, Gauge, Histogram

    name = f"portcall_{metric.name}"
    if metric.kind == "counter":
        return Counter(name, metric.help, metric.labels, registry=registry)
    if metric.kind == "gauge":
        return Gauge(name, metric.help, metric.labels, registry=registry)
    return Histogram(name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)


_metrics = _Metrics()


def enable(part: Part | None = None, *, strict: bool = False) -> None:
    """Start from zero, with the metrics of this part (None: of all). With `strict` an undeclared name or label
    is a LookupError, else left out.
    """
    _metrics.enable(part, strict=strict)


def disable() -> None:
    """Back to no-ops, for tests."""
    _metrics.disable()


def enabled() -> bool:
    """Whether anything is counted."""
    return _metrics.registry is not None


def clear(name: str) -> None:
    """Forget every value of a metric with labels."""
    if _metrics.registry is not None and (made := _metrics.made.get(name)) is not None:
        made.clear()


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to a counter."""
    if _metrics.registry is not None and (child := _metrics.find(name, labels)) is not None:
        child.inc(amount)


def gauge(name: str, value: float, **labels: str) -> None:
    """Set a gauge."""
    if _metrics.registry is not None and (child := _metrics.find(name, labels)) is not None:
        child.set(value)


def observe_seconds(name: str, seconds: float, **labels: str) -> None:
    """Put a duration into a histogram."""
    if _metrics.registry is not None and (child := _metrics.find(name, labels)) is not None:
        child.observe(seconds)


def render() -> bytes:
    """The Prometheus text format; empty until `enable()`."""
    if _metrics.registry is None:
        return b""
    from prometheus_client import generate_latest

    return generate_latest(_metrics.registry)
