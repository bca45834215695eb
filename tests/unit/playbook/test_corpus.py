"""The playbooks beside this file: `right/` loads without an error, `wrong/` says what its first lines say."""

from pathlib import Path

import jsonschema_rs
import pytest

from portcall.playbook import PlaybookError, check, json_schema, load
from portcall.playbook.report import Report
from portcall.playbook.source import parse
from portcall.tool import registry

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[2] / "examples"
RIGHT = [*sorted((HERE / "right").glob("*.yaml")), EXAMPLES / "hello.yaml"]
WRONG = sorted((HERE / "wrong").glob("*.yaml"))
KINDS = registry.kinds()


def expected(text: str) -> list[str]:
    return [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and ": " in line]


@pytest.mark.parametrize("file", RIGHT, ids=lambda file: file.stem)
def test_right(file: Path) -> None:
    _, problems = check(file.read_text(), KINDS, file.name)
    assert [str(problem) for problem in problems if problem.severity != "warning"] == []


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_wrong(file: Path) -> None:
    text = file.read_text()
    _, problems = check(text, KINDS)
    assert [f"{p.line}:{p.column}: {p.severity}: {p.message}" for p in problems] == expected(text)


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_errors_are_raised_and_warnings_are_not(file: Path) -> None:
    text = file.read_text()
    if any(" error: " in line for line in expected(text)):
        with pytest.raises(PlaybookError) as caught:
            load(text, KINDS, file.name)
        assert [str(p) for p in caught.value.problems] == [str(p) for p in check(text, KINDS, file.name)[1]]
        assert file.name in caught.value.message
    else:
        assert len(load(text, KINDS).notes) == len(expected(text))


@pytest.mark.parametrize("file", RIGHT, ids=lambda file: file.stem)
def test_the_schema_takes_what_the_checker_takes(file: Path) -> None:
    root = parse(file.read_text(), Report())
    assert root is not None
    errors = list(jsonschema_rs.Draft202012Validator(json_schema(KINDS)).iter_errors(root.data()))
    assert [f"{error.instance_path}: {error.message}" for error in errors] == []


def test_the_schema_refuses_unknown_keys_and_wrong_types() -> None:
    validator = jsonschema_rs.Draft202012Validator(json_schema(KINDS))
    whole = {"apiVersion": "noetl.io/v2", "kind": "Playbook", "metadata": {"name": "x"}}

    def valid(step: dict[str, object]) -> bool:
        return validator.is_valid({**whole, "workflow": [{"step": "start", **step}]})

    assert valid({"tool": {"kind": "container", "image": "a", "timeout_seconds": "{{ x }}"}})
    assert valid({"tool": {"kind": "noop"}, "x-any": 1})
    assert not valid({"tool": {"kind": "noop", "mesage": "x"}})
    assert not valid({"tool": {"kind": "pyton"}})
    assert not valid({"tool": {"kind": "noop"}, "nxt": "a"})
    assert not valid({})
    assert not valid({"tool": {"kind": "container", "image": "a", "timeout_seconds": []}})
