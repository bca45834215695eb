import msgspec
import pytest

from portcall.errors import UsageError
from portcall.playbook.problems import PlaybookError, Problem, as_json, did_you_mean, show


def test_the_caret_stands_under_the_spot() -> None:
    problem = Problem(
        "error", "`imgae` is no key.", file="a.yaml", line=2, column=3, length=5, hint="did you mean `image`?"
    )
    assert show([problem], "tool:\n  imgae: x\n").splitlines() == [
        "a.yaml:2:3: error: `imgae` is no key.",
        "     2 |   imgae: x",
        "       |   ^^^^^",
        "       = did you mean `image`?",
    ]


@pytest.mark.parametrize(
    ("source", "column", "pad"), [("名前: x", 5, "      "), ("\ta: x", 2, "\t"), ("é́: x", 3, " ")]
)
def test_the_caret_stands_right_behind_wide_letters_and_tabs(source: str, column: int, pad: str) -> None:
    lines = show([Problem("error", "m", column=column)], source).splitlines()
    assert lines[2] == f"       | {pad}^"


def test_long_lines_are_cut_around_the_spot() -> None:
    lines = show([Problem("error", "m", column=501)], "a" * 500 + "b" + "c" * 500).splitlines()
    assert len(lines[1]) < 200
    assert lines[1][lines[2].index("^")] == "b"


def test_color_only_when_asked_and_nothing_of_the_text_reaches_the_terminal_raw() -> None:
    problem = Problem("error", "m")
    assert "\x1b" not in show([problem], "a\x1b[2Jb")
    assert show([problem], "a", color=True).count("\x1b[31m") == 2  # the word and the caret


def test_a_place_behind_the_end_is_no_failure() -> None:
    assert show([Problem("error", "m", line=9, column=9)], "a") == "playbook:9:9: error: m\n"
    assert "^" in show([Problem("error", "m", line=1, column=9)], "a")


def test_as_json_and_back() -> None:
    problems = [Problem("warning", "m", path="workflow[2].tool", line=3)]
    assert as_json(problems)[0]["path"] == "workflow[2].tool"
    assert msgspec.convert(as_json(problems), list[Problem]) == problems


def test_the_error_is_one_sentence() -> None:
    first = Problem(
        "error", "There is no step `trian`.", file="p.yaml", line=4, column=9, hint="did you mean `train`?"
    )
    error = PlaybookError([Problem("warning", "w"), first, first])
    assert isinstance(error, UsageError)
    assert error.message == (
        "p.yaml has 2 problems; the first in line 4, column 9: "
        "There is no step `trian`. (did you mean `train`?)"
    )
    assert PlaybookError([]).message == "The playbook is wrong."


@pytest.mark.parametrize(
    ("word", "hint"),
    [("imgae", "did you mean `image`?"), ("timeoutSeconds", "did you mean `timeout_seconds`?"), ("zzz", "")],
)
def test_did_you_mean(word: str, hint: str) -> None:
    assert did_you_mean(word, ["image", "timeout_seconds"]) == hint
