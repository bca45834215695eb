# ruff: noqa: S105, S106 - the tokens are of the tests

"""Where settings come from, which wins, and how a wrong one is named."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.errors import UsageError
from portcall.settings import Settings, describe, flag, variable


def _file(folder: Path, text: str) -> Path:
    path = folder / "portcall.toml"
    path.write_text(text)
    return path


def _wrong(flags: Any = None, env: Any = None, file: Any = None) -> str:
    with pytest.raises(UsageError) as raised:
        Settings.load(flags or {}, env or {}, file)
    return raised.value.message


def test_nothing_given_is_the_defaults() -> None:
    assert Settings.load({}, {}) == Settings()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, 'slots = 1\nport = 1\nhost = "a"\ntoken = "t"')
    settings = Settings.load({"slots": 3, "port": None}, {"PORTCALL_SLOTS": "2", "PORTCALL_PORT": "2"}, file)
    assert (settings.slots, settings.port, settings.host, settings.token) == (3, 2, "a", "t")


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, "slots = 9")
    assert Settings.load({}, {"PORTCALL_CONFIG": str(file)}).slots == 9
    other = tmp_path / "other.toml"
    other.write_text("slots = 8")
    assert Settings.load({}, {"PORTCALL_CONFIG": str(file)}, other).slots == 8


def test_every_setting_is_described_and_can_be_given_everywhere() -> None:
    described = describe()
    assert [one.key for one in described] == [field.name for field in dataclasses.fields(Settings)]
    for one in described:
        assert (one.flag, one.env) == (flag(one.key), variable(one.key))
        assert one.help.endswith(".")
        if one.default:
            given = getattr(Settings(), one.key)
            settings = Settings.load({}, {one.env: one.default})
            assert getattr(settings, one.key) == given
            assert getattr(Settings.load({one.key: given}, {}), one.key) == given


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("lease_seconds", "45", 45.0),
        ("lease_seconds", "1500ms", 1.5),
        ("lease_seconds", "2m", 120.0),
        ("retention_seconds", "1d", 86400.0),
        ("max_body_bytes", "2 MiB", 2 << 20),
        ("max_body_bytes", "4096", 4096),
        ("server", "https://x.example/", "https://x.example"),
        ("log_format", "json", "json"),
        ("db", "a/b.db", Path("a/b.db")),
    ],
)
def test_words_are_understood(key: Any, raw: Any, value: Any) -> None:
    assert getattr(Settings.load({}, {variable(key): raw}), key) == value


@pytest.mark.parametrize(
    ("key", "raw", "said"),
    [
        ("slots", "many", "whole number"),
        ("slots", "0", "1 to"),
        ("slots", "", "whole number"),
        ("port", "65536", "65535"),
        ("lease_seconds", "soon", "duration"),
        ("lease_seconds", "0.1", "1 s"),
        ("lease_seconds", "nan", "duration"),
        ("max_body_bytes", "1.5MiB", "size"),
        ("runtime", "docke", "process, docker, kubernetes"),
        ("log_level", "loud", "debug"),
        ("server", "localhost:1", "URL"),
        ("db", "", "path"),
    ],
)
def test_a_wrong_value_names_its_source(key: Any, raw: Any, said: Any) -> None:
    message = _wrong(env={variable(key): raw})
    assert f"environment variable {variable(key)}" in message
    assert said in message
    assert f"flag {flag(key)}" in _wrong(flags={key: raw})


def test_types_of_the_file_are_checked(tmp_path: Path) -> None:
    for text in ('slots = "x"', "slots = true", "slots = 1.0", "lease_seconds = true", "host = 3", "db = 1"):
        file = _file(tmp_path, text)
        assert f"{file}: {text.split()[0]}" in _wrong(file=file)


def test_a_misspelt_key_is_answered_with_the_right_one(tmp_path: Path) -> None:
    assert "did you mean 'lease_seconds'" in _wrong(file=_file(tmp_path, "lease_second = 3"))
    assert "did you mean PORTCALL_LEASE_SECONDS" in _wrong(env={"PORTCALL_LEASE_SECOND": "3"})
    assert "there are" in _wrong(file=_file(tmp_path, "zzz = 3"))
    assert "'zzz'" in _wrong(flags={"zzz": 3})


def test_a_file_that_cannot_be_read_or_is_not_toml(tmp_path: Path) -> None:
    assert str(tmp_path) in _wrong(file=tmp_path / "nothing.toml")
    assert "TOML" in _wrong(file=_file(tmp_path, "slots = "))
    (tmp_path / "portcall.toml").write_bytes(b"\xff")
    assert "TOML" in _wrong(file=tmp_path / "portcall.toml")


def test_paths_in_a_file_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    settings = Settings.load(
        {}, {}, _file(tmp_path, 'token_file = "secret"\ndb = "x.db"\nruntime_root = "/abs"')
    )
    assert (settings.token, settings.db, settings.runtime_root) == (
        "from-file",
        tmp_path / "x.db",
        Path("/abs"),
    )


def test_what_kubernetes_puts_into_the_environment_is_left_alone() -> None:
    env = {
        "PORTCALL_PORT": "tcp://10.0.0.1:80",
        "PORTCALL_SERVICE_HOST": "10.0.0.1",
        "PORTCALL_SERVICE_PORT": "80",
        "PORTCALL_SERVICE_PORT_HTTP": "80",
        "PORTCALL_PORT_80_TCP": "tcp://10.0.0.1:80",
        "PORTCALL_PORT_80_TCP_ADDR": "10.0.0.1",
        "PORTCALL_SERVER_PORT": "tcp://10.0.0.1:80",
        "PORTCALL_SERVER_SERVICE_HOST": "10.0.0.1",
        "PORTCALL_CREDENTIAL_DB": "{}",
    }
    assert Settings.load({}, env) == Settings()


def test_the_nearer_form_of_the_token_wins(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" in-file \n")
    file = _file(tmp_path, 'token = "written"')
    assert Settings.load({}, {"PORTCALL_TOKEN_FILE": str(secret)}, file).token == "in-file"
    assert Settings.load({"token": "flag"}, {"PORTCALL_TOKEN_FILE": str(secret)}).token == "flag"
    both = _wrong(env={"PORTCALL_TOKEN": "hidden-value", "PORTCALL_TOKEN_FILE": str(secret)})
    assert "PORTCALL_TOKEN_FILE" in both
    assert "hidden-value" not in both


def test_a_token_file_that_is_of_no_use(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert "empty" in _wrong(env={"PORTCALL_TOKEN_FILE": str(empty)})
    assert "cannot be read" in _wrong(env={"PORTCALL_TOKEN_FILE": str(tmp_path / "no")})
    assert "header" in _wrong(env={"PORTCALL_TOKEN": "two\nlines"})


def test_the_token_is_not_shown() -> None:
    assert "sesame-42" not in repr(Settings(token="sesame-42"))
    assert "sesame" not in _wrong(flags={"token": ["sesame-42"]})


def test_a_record_outlives_ten_leases() -> None:
    message = _wrong(env={"PORTCALL_LEASE_SECONDS": "100", "PORTCALL_RETENTION_SECONDS": "999"})
    assert "ten times" in message
    assert Settings.load({}, {"PORTCALL_LEASE_SECONDS": "100", "PORTCALL_RETENTION_SECONDS": "1000"})


@given(st.sampled_from([one.key for one in describe()]), st.text())
def test_any_text_is_understood_or_refused_in_words(key: Any, text: Any) -> None:
    with contextlib.suppress(UsageError):
        Settings.load({}, {variable(key): text})
