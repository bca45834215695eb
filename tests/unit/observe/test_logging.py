"""Log records: shape, extras, secrets, and what an attacker puts into a message."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.observe import tracing
from portcall.observe.logging import add_secret, configure
from portcall.observe.secrets import MOST, forget_secrets, redact

log = logging.getLogger("portcall.test")


@pytest.fixture(autouse=True)
def _restore() -> Any:
    root = logging.getLogger()
    before, level, own = list(root.handlers), root.level, logging.getLogger("portcall").level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger("portcall").setLevel(own)
    forget_secrets()


def _written(form: Any, *args: Any, level: Any = "info", **extra: Any) -> Any:
    stream = io.StringIO()
    configure(level, form, stream)
    log.info(*args, extra=extra)
    return stream.getvalue()


def test_json_lines_have_the_ids_first_and_the_other_extras_after() -> None:
    line = _written("json", "parked %s", "c1", runtime="process", attempt=2, step="train", execution_id="7")
    assert line.count("\n") == 1
    record = json.loads(line)
    assert list(record) == ["ts", "level", "logger", "message", "execution_id", "step", "attempt", "runtime"]
    assert record["message"] == "parked c1"
    assert record["ts"].endswith("Z")


def test_json_lines_have_the_ids_of_the_span_around_them() -> None:
    with tracing.span("call", execution_id="7", step="s", call_id="c", events=2) as span:
        inside = json.loads(_written("json", "x", step="own"))
    assert list(inside)[4:] == ["execution_id", "step", "call_id", "trace_id", "span_id"]
    assert (inside["execution_id"], inside["step"]) == ("7", "own")
    assert inside["trace_id"] == span.traceparent.split("-")[1]
    assert "trace_id" not in json.loads(_written("json", "x"))


def test_the_console_form_is_one_short_line() -> None:
    line = _written("console", "parked", step="my step", execution_id="7")
    assert line[12:] == ' info    test: parked  execution_id=7  step="my step"\n'


@pytest.mark.parametrize("form", ["json", "console"])
@given(text=st.text())
def test_no_message_can_make_a_second_line(form: Any, text: Any) -> None:
    assert _written(form, "%s", text, note=text).count("\n") == 1


@pytest.mark.parametrize("value", [object(), {1: {2}}, "\ud800", b"\xff", float("nan"), {"a": object()}])
def test_no_extra_can_break_a_record(value: Any) -> None:
    assert json.loads(_written("json", "x", value=value))["message"] == "x"


@pytest.mark.parametrize("form", ["json", "console"])
@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=4).filter(lambda s: s.strip() and len(s.strip()) >= 4)
)
def test_no_secret_is_shown(form: Any, secret: Any) -> None:
    forget_secrets()
    probe = f"<<{secret}>>"
    shown = _written(form, "%s", probe, note=[probe])
    add_secret(secret)
    hidden = _written(form, "%s", probe, note=[probe])
    assert "***" in hidden
    if form == "json":
        assert secret not in json.loads(hidden)["message"]
        assert json.loads(shown)["message"] == probe


def test_a_secret_in_a_traceback_is_blanked() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    add_secret("hunter22")
    try:
        int("password hunter22")
    except ValueError:
        log.exception("failed")
    record = json.loads(stream.getvalue())
    assert "literal for int() with base 10: 'password ***'" in record["traceback"]


def test_short_values_are_not_blanked_and_the_number_is_bounded() -> None:
    add_secret("abc")
    assert redact("abc") == "abc"
    for number in range(5):
        add_secret(f"secret-{number}")
    assert redact("secret-3 of x") == "*** of x"
    assert MOST < 10_000


def test_levels_and_configuring_again() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("warning", "console", first)
    configure("warning", "console", second)
    log.info("no")
    log.warning("yes")
    logging.getLogger("other").warning("from elsewhere")
    assert first.getvalue() == ""
    assert "no" not in second.getvalue().replace("portcall", "")
    assert second.getvalue().count("\n") == 2


def test_a_reader_that_is_gone_is_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(io.StringIO):
        def write(self, _text: Any) -> Any:
            raise BrokenPipeError

    configure("info", "console", Gone())
    log.info("x")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "written", [str, json.dumps, repr, lambda text: json.dumps(text, ensure_ascii=False), quote]
)
def test_a_secret_is_known_in_every_usual_form(written: Callable[[str], str]) -> None:
    secret = 'p\u00e4"s\\s/word'  # noqa: S105 - of the test
    add_secret(secret)
    assert redact(written(secret)).strip("\"'") == "***"
