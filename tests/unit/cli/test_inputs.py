from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portcall.cli.inputs import credentials, read_text, scalar, workload
from portcall.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ("no", "no"),
        ("12:30", "12:30"),
        ("", ""),
        ("a b", "a b"),
        ('{"a": [1]}', {"a": [1]}),
        ("[1, 2]", [1, 2]),
        ("[a-z]+", "[a-z]+"),
        ('"3"', "3"),
    ],
)
def test_a_value_is_read_as_a_scalar_or_json(text: str, value: Any) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_set_goes_over_input_deeply(tmp_path: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_text("model: {name: a, size: 1}\nkeep: no\n")
    values = workload(["model.size=2", "new.deep.key=x=y"], str(file))
    assert values == {"model": {"name": "a", "size": 2}, "keep": "no", "new": {"deep": {"key": "x=y"}}}


@pytest.mark.parametrize("assignment", ["novalue", "=3", "a..b=1"])
def test_a_wrong_assignment_says_the_form(assignment: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        workload([assignment], None)


def test_an_assignment_without_a_key_is_shown_without_its_value() -> None:
    with pytest.raises(UsageError, match=r"--set '=\.\.\.' is not") as caught:
        workload(["=secret"], None)
    assert "secret" not in caught.value.message


def test_a_key_below_a_value_is_refused_without_the_value() -> None:
    with pytest.raises(UsageError) as caught:
        workload(["a=secret", "a.b=hidden"], None)
    assert "secret" not in caught.value.message
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize("text", ["[1, 2]", "just text", "a: [", "a: 1\na: 2\n"])
def test_an_input_that_is_no_mapping_names_the_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "in.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"in\.yaml"):
        workload([], str(file))


def test_a_missing_file_says_why() -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_text("/nowhere/x.yaml", "Playbook")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"ab\xff")
    with pytest.raises(UsageError, match="byte 2"):
        read_text(str(file), "Playbook")


def test_credentials_come_from_files_json_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"token": "file"}')
    environment = {"PORTCALL_CREDENTIAL_WARE_HOUSE": '{"dsn": "x"}', "PORTCALL_DB": "y"}
    found = credentials([f"api={file}", 'other={"token": "json"}'], environment)
    assert found["api"] == {"token": "file"}
    assert found["other"] == {"token": "json"}
    assert found["ware_house"] == found["ware-house"] == found["WARE_HOUSE"] == {"dsn": "x"}


def test_a_broken_credential_is_named_and_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        credentials(['api={"token": "hunter2"'], {})
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "hunter2" not in str(shown)
        shown = shown.__cause__ or shown.__context__
    assert "api" in caught.value.message
