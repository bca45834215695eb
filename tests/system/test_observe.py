"""Server, worker and watcher from outside: one trace through all of them, their logs, and their metrics."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from portcall.observe import tracing

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = CALLER.split("-")[1]
SECRET = "a-secret-of-the-workload"  # noqa: S105 - it opens nothing
SAMPLE = re.compile(r"^portcall_(\w+)(\{.*\})? (\S+)$", re.MULTILINE)


def get(url: str, token: str = "") -> str:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own process, on loopback
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
        return str(answer.read().decode())


def metrics(site: Any, url: str) -> dict[str, float]:
    text = get(f"{url}/metrics", site.env["PORTCALL_TOKEN"])
    return {name + labels: float(value) for name, labels, value in SAMPLE.findall(text)}


def shown_at(process: Any) -> str:
    """Where a worker or watcher answers probes."""
    return str(process.until("metrics on").rpartition("metrics on ")[2].removesuffix("/metrics"))


def records(process: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.lines if line.startswith("{")]


def spans(process: Any) -> list[dict[str, Any]]:
    return [one for one in records(process) if one["logger"] == "portcall.trace"]


@pytest.fixture
def three(site: Any) -> Any:
    """Server, worker and watcher, which log everything."""
    site.env["PORTCALL_LOG_LEVEL"] = "debug"
    more = ("--metrics-port", "0")
    return site.serve(), site.work(*more), site.watch(*more)


def test_one_trace_through_all_processes_and_into_the_container(site: Any, three: Any) -> None:
    server, worker, watcher = three
    site.env["TRACEPARENT"] = CALLER
    kept = site.folder / "traceparent"
    first = {"step": "start", "tool": {"kind": "python", "code": "result = 1"}, "next": "run"}
    execution = site.exec(first, site.container(f'echo "$TRACEPARENT" > {kept}', "run"))
    assert site.ended(execution).status == "completed"
    watcher.until('"message":"outcome succeeded: accepted"')
    watcher.until('"message":"deliver"')
    worker.until('"message":"call container"')
    server.until('"message":"execution completed"')

    ours = {name: [one for one in spans(each) if one["trace_id"] == TRACE] for name, each in named(three)}
    (call,) = (one for one in ours["worker"] if one["message"] == "call container")
    (deliver,) = (one for one in ours["watcher"] if one["message"] == "deliver")
    for one in (call, deliver):
        assert (one["execution_id"], one["step"]) == (execution, "run")
        assert one["call_id"]
    below = tracing.parse(kept.read_text().strip())
    assert below is not None
    assert (below.trace_id, below.span_id) == (TRACE, call["span_id"])
    assert deliver["parent_id"] == call["span_id"]
    # The watcher's request, the server's answer to it and the engine's transaction hang together.
    (request,) = (one for one in ours["watcher"] if one["parent_id"] == deliver["span_id"])
    # A span is logged at its end, which for the server's is after the answer was read.
    server.until(f'"parent_id":"{request["span_id"]}"')
    (answer,) = (one for one in spans(server) if one["parent_id"] == request["span_id"])
    (transaction,) = (one for one in spans(server) if one["parent_id"] == answer["span_id"])
    assert (answer["message"], transaction["message"]) == ("POST /api/events", "engine.report")
    for said in ("execution started", "execution completed"):
        (line,) = (one for one in records(server) if one["message"] == said)
        assert (line["level"], line["execution_id"], line["trace_id"]) == ("info", execution, TRACE)


def named(three: Any) -> list[tuple[str, Any]]:
    return list(zip(("server", "worker", "watcher"), three, strict=True))


def test_every_line_is_an_object_and_none_has_a_secret(site: Any, three: Any) -> None:
    step = site.container("exit 3")
    step["tool"]["env"] = {"PASSWORD": "{{ workload.password }}"}
    execution = site.exec(step, arguments=("--set", f"password={SECRET}"))
    assert site.ended(execution).status == "failed"
    three[2].until('"message":"outcome failed: accepted"')
    three[0].until('"message":"execution failed"')
    for name, process in named(three):
        text = "\n".join(process.lines)
        assert SECRET not in text, name
        assert site.env["PORTCALL_TOKEN"] not in text, name
        plain = [line for line in process.lines if not line.startswith("{")]
        assert all(line.startswith(f"portcall {name}") or "container-watcher" in line for line in plain), plain
        for one in records(process):
            assert {"ts", "level", "logger", "message"} <= one.keys()
            assert "call_id" not in one or {"execution_id", "step"} <= one.keys(), one
    (ended,) = (one for one in records(three[0]) if one["message"] == "execution failed")
    assert ended["step"] == "start"


def test_metrics_before_during_and_after(site: Any, three: Any) -> None:
    _, worker, watcher = three
    runtime = '{runtime="process"}'
    before = metrics(site, site.url)
    assert before["executions_open"] == before["commands_oldest_seconds"] == before["timers_late_seconds"] == 0
    assert before["store_up"] == 1
    assert (
        before['executions_ended_total{status="completed"}']
        == before['containers_ended_total{state="lost"}']
        == 0
    )
    with site.closed_gate() as open_gate:
        execution = site.exec(site.container(site.passing))
        site.until_fact(execution, "call.parked")
        during = metrics(site, site.url)
        assert during["executions_open"] == during["calls_outside" + runtime] == 1
        assert during["calls_overdue" + runtime] == during['commands{state="held"}'] == 0
        working = metrics(site, shown_at(worker))
        assert working["worker_parked_total"] == 1
        assert {name.partition("_")[0] for name in working} == {"worker"}
        open_gate()
        assert site.ended(execution).status == "completed"
    watcher.until("outcome succeeded")
    after = metrics(site, site.url)
    assert after["executions_open"] == 0
    assert "calls_outside" + runtime not in after
    assert after['executions_ended_total{status="completed"}'] == after["executions_started_total"] == 1
    assert after['calls_ended_total{kind="container",status="success"}'] == 1
    assert after['containers_ended_total{state="succeeded"}'] == 1
    assert after["store_transactions_total"] >= after['store_commits_total{result="done"}'] > 0
    assert after["log_facts_total"] == len(site.log(execution))
    assert after["log_bytes_total"] > after["log_facts_total"]
    assert metrics(site, shown_at(watcher))['watcher_delivered_total{verdict="accepted"}'] == 1


def test_worker_and_watcher_answer_probes(site: Any, three: Any) -> None:
    server, worker, watcher = three
    for process in (worker, watcher):
        url = shown_at(process)
        assert json.loads(get(f"{url}/healthz")) == {"status": "ok"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(f"{url}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{url}/api/executions", site.env["PORTCALL_TOKEN"])
    watcher.until("open calls compared with")
    for process in (worker, watcher):
        assert json.loads(get(f"{shown_at(process)}/readyz")) == {"status": "ok"}
    server.kill()
    worker.until("is tried again until it succeeds")
    watcher.until("comparison could not be completed")
    for process in (worker, watcher):
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(f"{shown_at(process)}/readyz")


def test_a_port_that_is_taken_is_said_in_one_sentence(site: Any, three: Any) -> None:
    port = shown_at(three[1]).rpartition(":")[2]
    said = site.cli("worker", "--metrics-port", port, code=2)
    assert f":{port}" in said
    assert "--metrics-port" in said
    assert "Traceback" not in said


def test_a_run_logs_only_when_asked(site: Any) -> None:
    file = site.file(site.playbook(site.container("exit 3")))
    line = ("run", file, "--db", str(site.db), "--json")
    quiet = site.start(*line)
    json.loads(quiet.output())
    assert quiet.ended() == 1
    assert [one for one in quiet.lines if "portcall." in one or '"logger"' in one] == []
    asked = site.start(*line, "--log-level", "info", "--log-format", "json")
    asked.output()
    assert asked.ended() == 1
    asked.until("<end>")
    assert [one["message"] for one in records(asked) if one["logger"] == "portcall.engine"] == [
        "execution started",
        "execution failed",
    ]


def test_a_command_that_was_not_asked_keeps_its_warnings() -> None:
    code = (
        "import logging; from portcall.cli import session\n"
        "async def work(): logging.getLogger('portcall.worker').warning('amid the display')\n"
        "session.run(work())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
