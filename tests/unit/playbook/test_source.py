import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.playbook.report import Report
from portcall.playbook.source import MAX_BYTES, Node, parse


def read(text: str) -> Node:
    report = Report()
    root = parse(text, report)
    assert root is not None, report.problems(None)
    assert not report.failed, report.problems(root)
    return root


def messages(text: str) -> list[str]:
    report = Report()
    root = parse(text, report)
    return [f"{p.line}:{p.column} {p.message}" for p in report.problems(root)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("+7", 7),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.", 1.0),
        ("~", None),
        ("null", None),
        ("", None),
        ("'5'", "5"),
        ('"no"', "no"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("! 5", "5"),
        ("=", "="),
        ("12345678901234567890", 12345678901234567890),
        ("v1.2.3", "v1.2.3"),
        ("-", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    if text == "-":
        assert read("a:\n -").data() == {"a": [None]}
        return
    found = read(f"a: {text}").data()["a"]
    assert found == value
    assert type(found) is type(value)


# JSON escapes what lies beyond as pairs, which YAML does not know.
LETTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
json_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(LETTERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(LETTERS), inner, max_size=4),
    max_leaves=12,
)


@given(json_data)
def test_json_is_read_as_json(data: object) -> None:
    assert read(json.dumps(data)).data() == data


@given(st.text(st.sampled_from(list("ab:-[]{}&*!|>'\"#%@`,? \n\t<0.~=\x00\ud800é"))))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    report = Report()
    root = parse(text, report)
    for problem in report.problems(root):
        assert problem.line >= 1
        assert problem.column >= 1
    if root is not None and not report.failed:
        json.dumps(root.data(), allow_nan=False)


def test_places() -> None:
    root = read("a:\n  - x: 'text'\n    é: {b: 12}\n")
    item = root.keys["a"][1].items[0]
    spots = (item.keys["x"][1], item.key("é"), item.keys["é"][1].keys["b"][1])
    assert [(n.line, n.column, n.length) for n in spots] == [
        (2, 8, 6),
        (3, 5, 1),
        (3, 12, 2),
    ]


def test_merge_keys_fill_what_is_absent_and_the_first_source_wins() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 0}\nd: {'<<': 5}"
    assert read(text).data()["c"] == {"x": 0, "y": 1, "z": 2}
    assert read(text).data()["d"] == {"<<": 5}


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 200_000, "{a: " * 200_000, "? " * 100_000])
def test_nesting_is_bounded(text: str) -> None:
    (message,) = messages(text)
    assert "deep" in message or "Not YAML" in message


def test_size_is_bounded() -> None:
    assert messages("a" * (MAX_BYTES + 1)) == ["1:1 The text is larger than 1 MiB; split the playbook."]
    assert messages("é" * (MAX_BYTES // 2 + 1)) == ["1:1 The text is larger than 1 MiB; split the playbook."]


def test_aliases_of_long_text_are_bounded_too() -> None:
    text = "a: &a " + "x" * 400_000 + "\nb: [" + ", ".join(["*a"] * 100) + "]"
    assert "expand to too much" in messages(text)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: \x01", "1:4 Not YAML: control characters are not allowed."),
        ("ok: 1\nb: \x07", "2:4 Not YAML: control characters are not allowed."),
        ("a: 1\n\tb: 2", "2:1 A tab stands where YAML wants spaces."),
        ("a: " + "9" * 400, "1:4 A number of more than 300 digits; put it in quotes if it is text."),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    assert messages(text) == [message]
