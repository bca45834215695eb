"""The table of metrics, and that the code counts nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import portcall
from portcall.model.api import Verdict
from portcall.model.event import ExecutionEnd
from portcall.model.outcome import State
from portcall.observe import metrics

FUNCTIONS = {"count": "counter", "gauge": "gauge", "observe_seconds": "seconds"}
NOT_LABELS = {"amount", "value", "seconds"}


@pytest.fixture(autouse=True)
def _off() -> Any:
    yield
    metrics.disable()


def _uses() -> Any:
    """Every call of metrics.count and its like in the package: place, function, name, labels."""
    root = Path(portcall.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="metrics"), attr=attr)) if attr in FUNCTIONS:
                    labels = {word.arg for word in node.keywords} - NOT_LABELS
                    yield f"{path.relative_to(root)}:{node.lineno}", attr, node.args[0], labels


def test_everything_counted_is_declared_and_everything_declared_is_counted() -> None:
    declared = {metric.name: metric for metric in metrics.METRICS}
    assert len(declared) == len(metrics.METRICS)
    used = set()
    for place, function, name, labels in _uses():
        assert isinstance(name, ast.Constant), f"{place}: the name is not a plain string"
        metric = declared.get(name.value)
        assert metric, f"{place}: {name.value} is not declared"
        assert (metric.kind, set(metric.labels)) == (FUNCTIONS[function], labels), place
        used.add(name.value)
    assert used == set(declared)


def test_no_label_has_many_values() -> None:
    for metric in metrics.METRICS:
        assert not {"execution_id", "call_id", "worker_id", "path", "message"} & set(metric.labels)
        assert metric.help.endswith(".")


def test_what_is_worth_an_alarm_is_there_before_it_happens() -> None:
    begins = {metric.name: set(metric.begins) for metric in metrics.METRICS if metric.begins}
    assert begins["events_received"] == begins["watcher_delivered"] == set(get_args(Verdict))
    assert begins["executions_ended"] == set(get_args(ExecutionEnd))
    assert begins["containers_ended"] == set(get_args(State))
    alarms = set()
    root = Path(portcall.__file__).parent / "watcher"
    for path in root.glob("*.py"):
        text = path.read_text("utf-8")
        alarms |= set(re.findall(r'"watcher_alarms", kind="(\w+)"|_alarm\(\s*"(\w+)"', text))
    assert begins["watcher_alarms"] == {one or other for one, other in alarms}
    metrics.enable()
    assert 'portcall_containers_ended_total{state="lost"} 0.0' in metrics.render().decode()


def test_a_process_shows_its_own() -> None:
    metrics.enable("worker", strict=True)
    metrics.count("worker_claims")
    metrics.count("executions_started")
    metrics.clear("calls_outside")
    names = set(re.findall(r"^portcall_([a-z]+)", metrics.render().decode(), re.MULTILINE))
    assert names == {"worker"}


def test_the_rules_of_the_manual_ask_for_metrics_that_are_there() -> None:
    page = Path(__file__).resolve().parents[3] / "docs/operations.md"
    asked = set(re.findall(r"expr:.*?(portcall_\w+)", page.read_text("utf-8")))
    assert len(asked) > 5
    metrics.enable()
    shown = metrics.render().decode()
    assert [name for name in asked if f"\n{name}" not in shown and f"TYPE {name} gauge" not in shown] == []


def test_nothing_happens_until_enabled() -> None:
    metrics.count("no such metric")
    assert metrics.render() == b""


def test_values_are_shown() -> None:
    metrics.enable(strict=True)
    metrics.count("worker_claims", 3)
    metrics.count("worker_claims")
    metrics.gauge("worker_outbox", 7)
    metrics.observe_seconds("watcher_comparison_seconds", 0.2)
    text = metrics.render().decode()
    assert "portcall_worker_claims_total 4.0" in text
    assert "portcall_worker_outbox 7.0" in text
    assert 'portcall_watcher_comparison_seconds_bucket{le="0.5"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    metrics.enable()
    assert "portcall_worker_claims_total 0.0" in metrics.render().decode()


@pytest.mark.parametrize(
    ("name", "labels"), [("nothing", {}), ("worker_calls", {}), ("worker_claims", {"kind": "x"})]
)
def test_what_is_not_declared_is_an_error_in_tests_and_left_out_in_life(
    name: Any, labels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.enable(strict=True)
    with pytest.raises(LookupError, match=name):
        metrics.count(name, **labels)
    metrics.enable()
    metrics.count(name, **labels)
    metrics.count(name, **labels)
    assert [name in record.getMessage() for record in caplog.records] == [True]


def test_the_library_is_imported_only_when_enabled() -> None:
    code = (
        "import sys, portcall.observe.metrics, portcall.client.http, portcall.settings;"
        "heavy = {'prometheus_client', 'httpx2', 'starlette', 'uvicorn'};"
        "print([name for name in sys.modules if name in heavy])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
