from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portcall.cli.rows import capacity, header, in_flight, rows
from portcall.model.api import ExecutionView, LoopView, StepView
from portcall.model.outcome import Evidence, data_of, outcome

from . import views


def test_a_container_that_has_ended_shows_its_own_result() -> None:
    view = views.ended()
    work = view.steps["work"]
    work.data = data_of(outcome("succeeded", result={"mae": 2.05}, evidence=Evidence(level="full")))
    assert rows(view, views.NOW)[1].detail == '{"mae":2.05}'
    work.data = data_of(outcome("succeeded", exit_code=0, evidence=Evidence(level="full")))
    assert rows(view, views.NOW)[1].detail == "exit code 0"


def test_attempts_and_runs_are_named() -> None:
    view = views.ended()
    row = rows(view, views.NOW)[1]
    assert (row.attempts, row.tries) == ("2", "2 attempts")
    view.steps["work"].runs = 3
    row = rows(view, views.NOW)[1]
    assert (row.attempts, row.tries) == ("2 (run 3)", "run 3 · 2 attempts")


def test_the_header_says_who_and_how_far() -> None:
    view = views.pipeline()
    assert header(view, views.NOW) == "demo/train · 7301444403200000000 · running · 1m05s"
    assert capacity(view, (0, 1)) == "slots 0/1 busy · 7 containers in flight · 3/5 steps done"
    assert capacity(view, None).startswith("7 containers in flight")


def test_only_containers_count_as_in_flight() -> None:
    view = views.pipeline()
    view.steps["wait"] = StepView(status="parked", kind="wait", calls=[views.parked(99, runtime="timer")])
    assert in_flight(view) == 7


def test_a_loop_beyond_what_a_view_lists_counts_what_runs() -> None:
    calls = [views.parked(index, iteration=index) for index in range(100)]
    loop = LoopView(total=1000, running=1000)
    step = StepView(status="parked", kind="container", calls=calls, loop=loop)
    view = ExecutionView(execution_id="1", path="p", status="running", started=views.START, steps={"s": step})
    assert in_flight(view) == 1000
    assert rows(view, views.NOW, 5)[-1].detail == "997 more"


def test_each_status_has_its_row_in_the_order_of_the_playbook() -> None:
    table = rows(views.pipeline(), views.NOW)
    by_name = {row.name: row for row in table if not row.child}
    assert list(by_name) == ["start", "profile", "train", "old", "report"]
    assert by_name["start"].detail == '{"n":40}'
    assert by_name["profile"].detail == "12/40 · 1 failed · 7 in flight"
    assert by_name["train"].attempts == "3"
    assert by_name["train"].detail == "It used more than its 32Mi memory limit."
    assert by_name["report"].elapsed == ""


def test_lines_that_are_left_name_the_containers_of_a_loop() -> None:
    table = rows(views.pipeline(), views.NOW, budget=9)
    children = [row for row in table if row.child]
    assert len(table) == 9
    assert children[0].name == "[12]"
    assert children[0].detail == "started · pid 4012"
    assert children[-1].detail == "4 more"


@given(st.integers(1, 120), st.integers(2, 60))
def test_the_table_fits_its_budget_and_keeps_what_is_active(count: int, budget: int) -> None:
    view = views.many(count)
    table = rows(view, views.NOW, budget)
    assert len(table) <= budget
    assert f"step_{count // 2:03}" in {row.name for row in table}


def test_what_is_left_out_is_counted() -> None:
    table = rows(views.many(100), views.NOW, 6)
    assert [row.name for row in table] == ["step_046", "step_047", "step_048", "step_049", "step_050", "…"]
    assert table[-1].detail == "95 more: 46 completed, 49 pending"
