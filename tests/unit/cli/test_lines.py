from __future__ import annotations

from portcall.cli.lines import Lines
from portcall.model.event import CallParked, CommandIssued, Event, IterationEnded, LoopStarted, StepSkipped
from portcall.model.outcome import Handle

from . import views


def said(events: list[Event]) -> list[str]:
    """The lines without their time."""
    lines = Lines()
    return [line.partition("  ")[2] for event in events if (line := lines.feed(event)) is not None]


def test_each_change_of_a_step_is_a_line() -> None:
    assert said(views.history()) == [
        "execution 7301444403200000001  started  demo/two",
        "work  running  container",
        "work  parked  process job-a",
        "work  started  pid 4242",
        "work  failed  Too big.",
        "work  attempt 2  memory 64Mi",
        "work  failed  It ended with 1.",
        "work  failed  7.0s",
        "execution 7301444403200000001  failed",
    ]


def test_several_executions_are_told_apart() -> None:
    line = Lines("7301").feed(views.history()[0])
    assert line is not None
    assert line.split("  ")[1] == "7301"


def loop(total: int) -> list[Event]:
    common = {"execution_id": "1", "at": views.START}
    events: list[Event] = [LoopStarted(step="s", run=1, items=[0] * total, **common)]  # type: ignore[arg-type]
    for index in range(total):
        call = f"{index:032x}"
        events += [
            CommandIssued(call_id=call, step="s", run=1, iteration=index, kind="container", **common),  # type: ignore[arg-type]
            CallParked(call_id=call, handle=Handle(runtime="process", name="j"), **common),  # type: ignore[arg-type]
            IterationEnded(step="s", run=1, iteration=index, status="completed", **common),  # type: ignore[arg-type]
        ]
    return events


def test_a_short_loop_says_each_item() -> None:
    lines = said(loop(2))
    assert lines == [
        "s  loop of 2",
        "s[0]  running  container",
        "s[0]  parked  process j",
        "s  1/2",
        "s[1]  running  container",
        "s[1]  parked  process j",
        "s  2/2",
    ]


def test_a_long_loop_says_each_tenth_of_its_way() -> None:
    lines = said(loop(1005))
    assert len(lines) == 1 + 10 + 1
    assert lines[1] == "s  100/1005"
    assert lines[-1] == "s  1005/1005"


def test_a_skipped_step_is_said() -> None:
    assert said([StepSkipped(execution_id="1", at=views.START, step="s", reason="when")]) == ["s  skipped"]
