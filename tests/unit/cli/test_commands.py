from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from portcall.cli.main import run as portcall
from portcall.errors import UnavailableError, UsageError
from portcall.model.api import ExecutionSummary
from portcall.model.event import CallDone
from portcall.playbook.problems import PlaybookError, Problem

from . import views
from .fakes import FakeEngine, Report

Install = Callable[[FakeEngine], FakeEngine]
Capture = pytest.CaptureFixture[str]
ID = "7301444403200000001"


def completed() -> FakeEngine:
    return FakeEngine(views.ended())


def failed() -> FakeEngine:
    return FakeEngine(views.ended("failed"), log=views.history())


# -- run ----------------------------------------------------------------------------------------


def test_run_drives_the_execution_to_its_end(install: Install, capsys: Capture) -> None:
    engine = install(completed())
    assert portcall(["run", "p.yaml", "--set", "n=2", "--slots", "3"]) == 0
    request = engine.started[0]
    assert request.playbook == "apiVersion: noetl.io/v2\n"
    assert request.file == "p.yaml"
    assert request.workload == {"n": 2}
    assert engine.driven == [{request.execution_id}]
    assert engine.options["slots"] == 3
    out = capsys.readouterr().out
    assert '\n  work:\n    result: {"ok": true}\n' in out
    assert f"portcall replay {request.execution_id}" in out


def test_run_json_prints_one_object_and_nothing_else(install: Install, capsys: Capture) -> None:
    engine = install(completed())
    assert portcall(["run", "p.yaml", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert found["execution_id"] == engine.started[0].execution_id
    assert found["status"] == "completed"
    assert found["duration_s"] == 3.0
    assert found["error"] is None
    assert found["steps"]["start"] == {"status": "completed", "data": {"n": 1}, "attempts": 1}
    assert found["steps"]["work"]["outcome"]["class"] == "ok"


def test_a_failed_execution_shows_why_with_the_end_of_its_output(install: Install, capsys: Capture) -> None:
    install(failed())
    assert portcall(["run", "p.yaml", "--quiet"]) == 1
    out = capsys.readouterr().out
    assert "  work: ValueError: bad (line 3 of the step's code)" in out
    assert "    | last words" in out


def test_a_failed_execution_that_wrote_only_blank_lines_shows_no_output(
    install: Install, capsys: Capture
) -> None:
    blank = [
        msgspec.structs.replace(event, log_tail=" \n\n") if isinstance(event, CallDone) else event
        for event in views.history()
    ]
    install(FakeEngine(views.ended("failed"), log=blank))
    assert portcall(["run", "p.yaml", "--quiet"]) == 1
    assert "the end of its output" not in capsys.readouterr().out


def test_run_without_a_terminal_says_a_line_for_each_change(install: Install, capsys: Capture) -> None:
    install(failed())
    assert portcall(["run", "p.yaml"]) == 1
    out = capsys.readouterr().out
    assert "work  parked  process job-a" in out
    assert out.count("execution 7301444403200000001  failed") == 1


def test_the_commands_to_try_name_another_database(install: Install, capsys: Capture) -> None:
    engine = install(completed())
    assert portcall(["run", "p.yaml", "--db", "a b/x.db"]) == 0
    assert f"portcall show {engine.started[0].execution_id} --db 'a b/x.db'" in capsys.readouterr().out


def test_an_error_is_one_sentence_and_its_exit_code(install: Install, capsys: Capture) -> None:
    install(FakeEngine(views.ended(), failure=UnavailableError("The disk is full.")))
    assert portcall(["run", "p.yaml"]) == 3
    assert capsys.readouterr().err == "portcall: The disk is full.\n"


def test_an_unexpected_error_shows_its_traceback_only_when_asked(
    install: Install, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(FakeEngine(views.ended(), failure=ZeroDivisionError("by zero")))
    assert portcall(["run", "p.yaml"]) == 3
    err = capsys.readouterr().err
    assert err.splitlines() == ["portcall: could not go on: ZeroDivisionError: by zero (--debug shows where)"]
    monkeypatch.setenv("PORTCALL_DEBUG", "1")
    assert portcall(["run", "p.yaml"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run"], "Missing argument"),
        (["run", "none.yaml"], "no such file"),
        (["run", "p.yaml", "--set", "x"], "key=value"),
        (["run", "p.yaml", "--runtime", "docker"], "only `process`"),
        (["run", "p.yaml", "--slots", "0"], "--slots"),
        (["run", "p.yaml", "--credential", "x"], "NAME=FILE"),
        (["rnu"], "Did you mean 'run'?"),
        (["show", "last", "--db", "none.db"], "no database at none.db"),
        (["show", "last", "--db", "x", "--server", "http://localhost"], "exclude each other"),
    ],
)
def test_wrong_arguments_end_with_two_and_say_why(
    install: Install, capsys: Capture, args: list[str], words: str
) -> None:
    install(completed())
    assert portcall(args) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


# -- resume -------------------------------------------------------------------------------------


def running() -> FakeEngine:
    view = views.ended()
    view.status = "running"
    view.ended = None
    return FakeEngine(view)


def test_resume_with_nothing_unfinished_says_so(install: Install, capsys: Capture) -> None:
    engine = install(completed())
    assert portcall(["resume"]) == 0
    assert "Nothing is unfinished" in capsys.readouterr().out
    assert engine.driven == []
    assert portcall(["resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"executions": []}
    assert portcall(["resume", "--db", "none.db"]) == 0


def test_resume_drives_what_is_unfinished_and_not_driven(install: Install, capsys: Capture) -> None:
    engine = install(running())
    engine.others = [
        ExecutionSummary(execution_id="55", path="p", status="failing", started=views.START),
        ExecutionSummary(execution_id="44", path="p", status="completed", started=views.START),
    ]
    engine.owners = {"55": 4711}
    assert portcall(["resume"]) == 0
    assert engine.driven == [{ID}]
    assert "process 4711" in capsys.readouterr().err


def test_resume_of_what_has_ended_prints_its_end(install: Install, capsys: Capture) -> None:
    engine = install(failed())
    assert portcall(["resume", "last"]) == 1
    assert "has ended already" in capsys.readouterr().out
    assert engine.driven == []


def test_resume_of_what_another_process_drives_names_it(install: Install, capsys: Capture) -> None:
    engine = install(running())
    engine.owners = {ID: 4711}
    assert portcall(["resume", ID]) == 2
    assert "process 4711" in capsys.readouterr().err


# -- look and steer -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ID, "73014444032", "0001", "last"])
def test_an_execution_is_found_by_a_part_of_its_id(install: Install, capsys: Capture, text: str) -> None:
    install(completed())
    assert portcall(["show", text, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["execution_id"] == ID


def test_a_part_that_fits_several_is_refused(install: Install, capsys: Capture) -> None:
    engine = install(completed())
    engine.others = [ExecutionSummary(execution_id="73", path="p", status="completed", started=views.START)]
    assert portcall(["show", "73", "--json"]) == 2, "an id itself wins over what it is part of"
    assert "There is no execution 73" in capsys.readouterr().err
    assert portcall(["show", "7"]) == 2
    assert "fits 2 executions" in capsys.readouterr().err
    assert portcall(["show", "xyz"]) == 2
    assert "portcall ps lists them" in capsys.readouterr().err


def test_ps_lists_executions(install: Install, capsys: Capture) -> None:
    install(completed())
    assert portcall(["ps"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "PLAYBOOK", "STATUS", "STARTED", "ELAPSED", "PARKED"]
    assert lines[1].startswith(f"{ID}  demo/two  completed  ")
    assert portcall(["ps", "--db", "none.db"]) == 0
    assert "No execution" in capsys.readouterr().out


def test_show_has_the_outcome_of_each_container(install: Install, capsys: Capture) -> None:
    install(failed())
    assert portcall(["show", ID]) == 0
    out = capsys.readouterr().out
    assert "work attempt 2: ✗ failed · exit 1 · evidence full" in out
    assert "      It ended with 1." in out


def test_events_prints_the_whole_log(install: Install, capsys: Capture) -> None:
    engine = install(failed())
    assert portcall(["events", ID, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["seq"] for event in found] == [event.seq for event in engine.log]
    assert portcall(["events", ID, "-f"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(engine.log)


def test_logs_come_from_the_runtime_and_else_from_the_log(install: Install, capsys: Capture) -> None:
    engine = install(failed())
    engine.outputs = {"job-a": b"from the container\n"}
    assert portcall(["logs", ID]) == 0
    out = capsys.readouterr().out
    assert out == "==> work <==\nfrom the container\n\n==> work attempt 2 <==\none\nlast words\n\n"
    assert portcall(["logs", ID, "work", "-f"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == ["work attempt 2 | last words", "work attempt 2 | one", "work | from the container"]
    assert portcall(["logs", ID, "nothing"]) == 2
    assert "there are start, work" in capsys.readouterr().err


def test_cancel_of_what_nobody_drives_drives_it_to_its_end(install: Install, capsys: Capture) -> None:
    engine = install(running())
    assert portcall(["cancel", ID]) == 0
    assert engine.cancelled == [ID]
    assert engine.driven == [{ID}]
    assert "cancelled" in capsys.readouterr().out


def test_cancel_of_what_has_ended_is_refused(install: Install, capsys: Capture) -> None:
    engine = install(completed())
    assert portcall(["cancel", ID]) == 2
    assert "ended already: completed" in capsys.readouterr().err
    assert engine.cancelled == []


def test_cancel_without_waiting_says_who_stops_the_containers(install: Install, capsys: Capture) -> None:
    engine = install(running())
    portcall(["cancel", ID, "--no-wait"])
    assert engine.driven == []
    assert f"portcall resume {ID}" in capsys.readouterr().err


def test_replay_ends_with_one_when_it_differs(install: Install, capsys: Capture) -> None:
    engine = install(completed())
    assert portcall(["replay", ID]) == 0
    engine.report = Report(same=False, differences=["steps.work.status"])
    assert portcall(["replay", ID]) == 1
    assert "  steps.work.status" in capsys.readouterr().out


def test_a_playbook_with_problems_is_shown_with_carets(install: Install, capsys: Capture) -> None:
    problem = Problem("error", "Unknown key `apiVersion`.", file="p.yaml", line=1, column=1, length=10)
    install(FakeEngine(views.ended(), failure=PlaybookError([problem])))
    assert portcall(["run", "p.yaml"]) == 2
    err = capsys.readouterr().err
    assert "p.yaml:1:1: error: Unknown key" in err
    assert "^^^^^^^^^^" in err


def test_a_usage_error_is_no_playbook_error(install: Install, capsys: Capture) -> None:
    install(FakeEngine(views.ended(), failure=UsageError("No.")))
    assert portcall(["run", "p.yaml"]) == 2
    assert capsys.readouterr().err == "portcall: No.\n"
