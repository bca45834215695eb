from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.cli.outline import essence, outline
from portcall.cli.report import last_results
from portcall.model.api import StepView
from portcall.model.outcome import Evidence, State, data_of, outcome

from . import views

FULL = Evidence(level="full")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


def container(state: State = "succeeded", **fields: Any) -> dict[str, Any]:
    return data_of(outcome(state, evidence=FULL, **fields))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (container(result={"mae": 2}), {"mae": 2}),
        (container(exit_code=0), "exit code 0"),
        (container("failed", exit_code=3), "failed, exit code 3"),
        (container("failed_oom", exit_code=137, message="Too big."), "failed_oom: Too big."),
        (
            {"results": [container(result=1), None], "stats": {"total": 2, "success": 1, "failed": 1}},
            [1, None],
        ),
        ({"result": 1, "exit_code": 0}, {"result": 1, "exit_code": 0}),
        ([1], [1]),
    ],
)
def test_what_matters_of_a_container_is_its_own_result(data: Any, shown: Any) -> None:
    assert essence(data) == shown


def test_data_is_indented_and_its_text_wrapped() -> None:
    data = {
        "why": "one two three four five six",
        "rows": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        "few": [1, 2],
        "text": "first\nsecond",
        "none": None,
        "deep": {"a": {"b": 1}},
    }
    assert list(outline({"report": data}, 24)) == [
        "report:",
        "  why: one two three",
        "    four five six",
        "  rows:",
        "    - a: 1",
        "      b: x",
        "    - a: 2",
        "      b: y",
        "  few: [1, 2]",
        "  text:",
        "    first",
        "    second",
        "  none: null",
        "  deep:",
        '    a: {"b": 1}',
    ]


def test_many_numbers_fill_lines() -> None:
    lines = list(outline(list(range(100)), 60))
    assert len(lines) < 10
    assert max(map(len, lines)) <= 60


@given(JSON, st.integers(20, 120))
def test_no_data_breaks_the_terminal(data: Any, width: int) -> None:
    lines = list(outline(data, width))
    assert lines
    assert not any(char in line for line in lines for char in "\x1b\r\n\x00")


def test_results_are_those_of_the_last_steps() -> None:
    view = views.ended()
    view.arcs = {"start": ["work"], "work": ["never"]}
    assert list(last_results(view)) == ["work"]
    view.steps["never"] = StepView(status="skipped")
    assert list(last_results(view)) == ["work"]
    view.steps["work"].data = None
    assert list(last_results(view)) == ["start"]
