"""Views as an engine gives them, for drawing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from portcall.model.api import CallView, ExecutionView, LoopView, StepView
from portcall.model.event import (
    CallDone,
    CallParked,
    CallProgress,
    CommandIssued,
    Error,
    Event,
    ExecutionEnd,
    ExecutionEnded,
    ExecutionStarted,
    StepEnded,
    StepEntered,
)
from portcall.model.outcome import Evidence, Handle, Timings, outcome

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
NOW = START + timedelta(seconds=65)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def parked(index: int, *, iteration: int | None = None, runtime: str = "process") -> CallView:
    return CallView(
        call_id=f"{index:032x}",
        iteration=iteration,
        status="parked",
        phase="started",
        where=f"pid {4000 + index}",
        since=at(60),
        handle=Handle(runtime=runtime, name=f"job-{index}"),
    )


def pipeline() -> ExecutionView:
    """One step of each status, and a loop with seven containers outside."""
    return ExecutionView(
        execution_id="7301444403200000000",
        path="demo/train",
        status="running",
        started=START,
        steps={
            "start": StepView(
                status="completed",
                kind="python",
                runs=1,
                attempts=1,
                data={"n": 40},
                started=START,
                ended=at(1),
            ),
            "profile": StepView(
                status="parked",
                kind="container",
                runs=1,
                attempts=1,
                started=at(1),
                calls=[parked(index, iteration=index) for index in range(12, 19)],
                loop=LoopView(total=40, success=11, failed=1, running=7),
            ),
            "train": StepView(
                status="failed",
                kind="container",
                runs=1,
                attempts=3,
                started=at(1),
                ended=at(30),
                error=Error(kind="failed_oom", message="It used more than its 32Mi memory limit."),
                outcome=outcome("failed_oom", exit_code=137, evidence=Evidence(level="partial")),
            ),
            "old": StepView(status="skipped", kind="noop"),
            "report": StepView(status="pending", kind="python"),
        },
        seq=41,
    )


def many(count: int) -> ExecutionView:
    """A long chain: the first half has ended, one step runs, the rest waits."""
    steps: dict[str, StepView] = {}
    for index in range(count):
        done = index < count // 2
        status = "completed" if done else "running" if index == count // 2 else "pending"
        steps[f"step_{index:03}"] = StepView(
            status=status,  # type: ignore[arg-type]
            kind="noop",
            started=at(index / 10) if index <= count // 2 else None,
            ended=at(index / 10 + 0.05) if done else None,
        )
    return ExecutionView(execution_id="1", path="chain", status="running", started=START, steps=steps)


def ended(status: ExecutionEnd = "completed") -> ExecutionView:
    """Two steps that have ended."""
    error = Error(kind="exception", message="ValueError: bad (line 3 of the step's code)", step="work")
    failed = status == "failed"
    return ExecutionView(
        execution_id="7301444403200000001",
        path="demo/two",
        status=status,
        started=START,
        ended=at(3),
        duration_s=3.00049,
        error=error if failed else None,
        steps={
            "start": StepView(
                status="completed",
                kind="python",
                runs=1,
                attempts=1,
                data={"n": 1},
                started=START,
                ended=at(1),
            ),
            "work": StepView(
                status=status,
                kind="container",
                runs=1,
                attempts=2,
                data={"result": {"ok": True}} if status == "completed" else None,
                error=error if failed else None,
                outcome=outcome(
                    "failed" if failed else "succeeded",
                    exit_code=int(failed),
                    evidence=Evidence(level="full"),
                    timings=Timings(created=at(1), started=at(1.5), finished=at(3)),
                ),
                started=at(1),
                ended=at(3),
            ),
        },
        seq=9,
    )


def history(execution_id: str = "7301444403200000001") -> list[Event]:
    """The log of `ended("failed")`: a container that fails, is repeated, and fails again."""
    given: list[tuple[type[Any], dict[str, Any]]] = [
        (ExecutionStarted, {"playbook": "d", "path": "demo/two", "workload": {}}),
        (StepEntered, {"step": "work", "run": 1}),
        (CommandIssued, {"call_id": "a" * 32, "step": "work", "run": 1, "kind": "container"}),
        (CallParked, {"call_id": "a" * 32, "handle": Handle(runtime="process", name="job-a")}),
        (CallProgress, {"call_id": "a" * 32, "phase": "started", "where": "pid 4242"}),
        (
            CallDone,
            {"call_id": "a" * 32, "status": "error", "error": Error(kind="failed_oom", message="Too big.")},
        ),
        (
            CommandIssued,
            {
                "call_id": "b" * 32,
                "step": "work",
                "run": 1,
                "kind": "container",
                "attempt": 2,
                "grown": {"memory": "64Mi"},
            },
        ),
        (
            CallDone,
            {
                "call_id": "b" * 32,
                "status": "error",
                "error": Error(kind="failed", message="It ended with 1."),
                "outcome": outcome(
                    "failed", exit_code=1, message="It ended with 1.", evidence=Evidence(level="full")
                ),
                "log_tail": "one\nlast words",
            },
        ),
        (
            StepEnded,
            {
                "step": "work",
                "run": 1,
                "status": "failed",
                "error": Error(kind="failed", message="It ended with 1."),
            },
        ),
        (ExecutionEnded, {"status": "failed"}),
    ]
    return [
        kind(execution_id=execution_id, at=at(index), seq=index + 1, **fields)
        for index, (kind, fields) in enumerate(given)
    ]
