from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.cli.text import clean, compact, duration, one_line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (-3, "0.0s"),
        (12.34, "12.3s"),
        (59.94, "59.9s"),
        (59.96, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (3720, "1h02m"),
        (100 * 3600, "4d04h"),
    ],
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.text())
def test_cleaned_text_cannot_steer_a_terminal(text: str) -> None:
    assert all(char in "\t\n" or (char >= " " and not "\x7f" <= char <= "\x9f") for char in clean(text))


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line_of_that_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line


def test_data_is_shown_as_compact_json_and_nothing_as_nothing() -> None:
    assert compact({"a": [1, "x"]}) == '{"a":[1,"x"]}'
    assert compact(None) == ""
    assert compact("x" * 500, 10) == "x" * 9 + "…"
