"""What the engine counts and says: what was committed, once, and how the store stands."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portcall import app, ids
from portcall.errors import PortcallError
from portcall.model import event as e
from portcall.model.api import ClaimRequest, StartRequest
from portcall.model.outcome import Evidence, Handle, outcome
from portcall.observe import metrics, tracing
from portcall.orchestrator.engine import Engine
from portcall.orchestrator.gauges import Gauges
from portcall.store.sqlite import SqliteStore

HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: t, path: t}\nworkflow:\n"
NOOP = HEAD + "- {step: start, tool: {kind: noop}}\n"
CONTAINER = HEAD + "- {step: start, tool: {kind: container, image: x, command: [x], timeout_seconds: 60}}\n"
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
START = datetime(2026, 1, 1, tzinfo=UTC)


class HandClock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def engine(tmp_path: Path, clock: HandClock) -> Iterator[Engine]:
    metrics.enable("server", strict=True)
    store = SqliteStore(tmp_path / "portcall.db", threaded=False)
    made = Engine(store, app.load_playbook, lease_seconds=1000, clock=clock)
    store.on_lost = lambda _: made.drop_cache()
    store.open()
    yield made
    metrics.disable()
    asyncio.run(made.close())


def shown() -> dict[str, float]:
    text = metrics.render().decode()
    found = re.findall(r"^portcall_(\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def parked(engine: Engine) -> tuple[str, str]:
    """An execution with one container outside; its id and the call's."""
    execution = await engine.start(StartRequest(playbook=CONTAINER))
    (command,) = await engine.claim(ClaimRequest(worker_id="w", slots=1))
    call = command.call_id
    handle = Handle(runtime="process", name="j", uid="u")
    park = e.CallParked(
        execution_id=execution, at=START, event_id=ids.event_id(call, "call.parked"), call_id=call,
        handle=handle, claim=command.claim, timeout_seconds=60,
    )  # fmt: skip
    started = e.CallProgress(
        execution_id=execution, at=START, event_id="p", call_id=call, phase="started", since=START
    )
    await engine.report([park, started])
    return execution, call


def test_the_gauges_are_what_the_store_holds(engine: Engine, clock: HandClock) -> None:
    async def scenario() -> list[Gauges]:
        seen = [await engine.gauges()]
        await parked(engine)
        seen.append(await engine.gauges())
        await engine.start(StartRequest(playbook=NOOP))
        clock.time += timedelta(seconds=95)
        seen.append(await engine.gauges())
        await engine.tick()
        seen.append(await engine.gauges())
        await engine.claim(ClaimRequest(worker_id="w", slots=1))
        seen.append(await engine.gauges())
        return seen

    empty, outside, late, overdue, held = asyncio.run(scenario())
    assert empty == Gauges(open=0, parked=[], commands={}, oldest=0.0, late=0.0)
    assert outside == Gauges(open=1, parked=[("process", 1, 0)], commands={}, oldest=0.0, late=0.0)
    assert (late.open, late.commands, late.oldest, late.late) == (2, {"ready": 1}, 95.0, 5.0)
    assert (overdue.parked, overdue.late) == ([("process", 1, 1)], 0.0)
    assert (held.commands, held.oldest) == ({"held": 1}, 0.0)


def test_an_end_is_counted_once_and_a_runtime_without_calls_is_gone(engine: Engine, tmp_path: Path) -> None:
    async def scenario() -> tuple[str, dict[str, float]]:
        execution, call = await parked(engine)
        await engine.measure()
        during = shown()
        lost = outcome("lost", evidence=Evidence(level="none"))
        done = e.CallDone(
            execution_id=execution, at=START, event_id=ids.event_id(call, "call.done"), call_id=call,
            status="error", outcome=lost, error=e.Error(kind="lost", message="gone"),
        )  # fmt: skip
        for _ in range(2):
            await engine.report([done])
        await engine.measure()
        return execution, during

    execution, during = asyncio.run(scenario())
    runtime = '{runtime="process"}'
    assert during["calls_outside" + runtime] == during["executions_open"] == during["store_up"] == 1
    after = shown()
    assert "calls_outside" + runtime not in after
    assert after["executions_open"] == 0
    assert after['containers_ended_total{state="lost"}'] == 1
    assert after['calls_ended_total{kind="container",status="error"}'] == 1
    assert after['executions_ended_total{status="failed"}'] == after["executions_started_total"] == 1
    log = asyncio.run(engine.events(execution))
    assert after["log_facts_total"] == len(log)
    with closing(sqlite3.connect(tmp_path / "portcall.db")) as other:
        (written,) = other.execute("SELECT sum(length(body)) FROM event").fetchone()
    assert after["log_bytes_total"] == written


def test_what_was_taken_back_is_not_counted(engine: Engine, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "portcall.db")) as other:
        other.execute("CREATE TRIGGER no BEFORE INSERT ON command BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(PortcallError):
        asyncio.run(engine.start(StartRequest(playbook=NOOP)))
    after = shown()
    assert after["executions_started_total"] == after["log_facts_total"] == 0
    assert after['store_commits_total{result="failed"}'] == 1


@pytest.mark.parametrize(
    ("request_trace", "around", "wanted"),
    [(GIVEN, "", GIVEN), ("nonsense", "", None), ("", GIVEN, None), ("", "", None)],
)
def test_every_execution_has_a_trace(
    engine: Engine, request_trace: str, around: str, wanted: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "portcall.engine")

    async def scenario() -> e.Event:
        request = StartRequest(playbook=NOOP, traceparent=request_trace)
        if around:
            with tracing.span("request", around):
                execution = await engine.start(request)
        else:
            execution = await engine.start(request)
        return (await engine.events(execution))[0]

    started = asyncio.run(scenario())
    assert isinstance(started, e.ExecutionStarted)
    trace = tracing.parse(started.traceparent)
    assert trace is not None
    assert wanted in (None, started.traceparent)
    assert not around or trace.trace_id == around.split("-")[1]
    assert [(each.getMessage(), vars(each)["trace_id"]) for each in caplog.records] == [
        ("execution started", trace.trace_id)
    ]
