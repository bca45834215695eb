"""traceparent: the standard's shapes, nesting, and the record of a span."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.observe import tracing

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_goes_on_with_new_spans() -> None:
    above, below = tracing.parse(GOOD), tracing.parse(tracing.child(GOOD))
    assert str(above) == GOOD
    assert (below.trace_id, below.flags) == (above.trace_id, above.flags)
    assert below.span_id != above.span_id
    assert tracing.parse(tracing.new_traceparent()).trace_id != above.trace_id


@pytest.mark.parametrize(
    "bad",
    [
        "",
        GOOD.upper(),
        GOOD + "-more",
        GOOD.replace("00-", "ff-", 1),
        GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        GOOD.replace("00f067aa0ba902b7", "0" * 16),
        GOOD + "\n",
        " " + GOOD,
    ],
)
def test_what_is_none_starts_a_new_trace(bad: Any) -> None:
    assert tracing.parse(bad) is None
    assert tracing.parse(tracing.child(bad)) is not None


def test_a_later_version_may_have_more() -> None:
    assert tracing.parse("01" + GOOD[2:] + "-more").trace_id == tracing.parse(GOOD).trace_id


@given(st.text())
def test_any_text_gives_a_right_child(text: Any) -> None:
    assert tracing.parse(tracing.child(text))


def _fail_inside(span: tracing.span) -> None:
    with span:
        assert tracing.current() == span.traceparent
        raise KeyError


def test_spans_nest_and_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "portcall.trace")
    assert tracing.current() == ""
    with tracing.span("outer", GOOD, step="s") as outer:
        assert tracing.current() == outer.traceparent
        inner = tracing.span("inner")
        with pytest.raises(KeyError):
            _fail_inside(inner)
        assert tracing.current() == outer.traceparent
    assert tracing.current() == ""
    first, second = caplog.records
    ids = [tracing.parse(trace) for trace in (GOOD, outer.traceparent, inner.traceparent)]
    assert (first.getMessage(), first.trace_id, first.span_id, first.parent_id, first.failed) == (
        "inner",
        ids[0].trace_id,
        ids[2].span_id,
        ids[1].span_id,
        "KeyError",
    )
    assert (second.getMessage(), second.parent_id, second.step, second.failed) == (
        "outer",
        ids[0].span_id,
        "s",
        None,
    )
    assert second.duration_ms >= 0


def test_tasks_do_not_see_each_others_spans() -> None:
    async def one(name: Any) -> Any:
        with tracing.span(name) as own:
            await asyncio.sleep(0)
            return tracing.current() == own.traceparent

    async def main() -> None:
        return await asyncio.gather(*(one(str(number)) for number in range(5)))

    assert all(asyncio.run(main()))


def test_a_span_that_nobody_asks_draws_no_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing.os, "urandom", lambda size: pytest.fail(f"{size} bytes were drawn"))
    with tracing.span("outer", GOOD), tracing.span("inner"):
        pass


def test_what_a_span_is_about() -> None:
    assert tracing.about() == {}
    with tracing.span("call", GOOD, step="s") as own:
        assert tracing.about() == {"step": "s", **tracing.ids(own.traceparent)}
        assert tracing.about()["trace_id"] == GOOD.split("-")[1]
