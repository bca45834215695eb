"""Spans over HTTP hops by W3C `traceparent`: who caused what, without any other machinery.

Format: `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`, https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import re
import time
from types import TracebackType
from typing import Any, NamedTuple, Self

_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_log = logging.getLogger("portcall.trace")
_current: contextvars.ContextVar[span | None] = contextvars.ContextVar("portcall_span", default=None)


class Trace(NamedTuple):
    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


@functools.lru_cache(maxsize=256)  # the calls of an execution have the same one
def parse(traceparent: str) -> Trace | None:
    """None for what is no traceparent: the standard says to start a new trace then."""
    found = _SHAPE.fullmatch(traceparent)
    if not found:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Trace(trace_id, span_id, flags)


def new_traceparent() -> str:
    """The beginning of a new trace."""
    return str(Trace(_random(16), _random(8), "01"))


def child(traceparent: str) -> str:
    """A new span in the same trace, or in a new one."""
    above = parse(traceparent)
    return f"00-{above.trace_id}-{_random(8)}-{above.flags}" if above else new_traceparent()


def current() -> str:
    """The traceparent of the innermost span around the caller; empty outside any."""
    inner = _current.get()
    return "" if inner is None else inner.traceparent


def about() -> dict[str, Any]:
    """What the innermost span around the caller is about, with its ids; empty outside any."""
    inner = _current.get()
    return {} if inner is None else inner.attributes | ids(inner.traceparent)


def ids(traceparent: str) -> dict[str, str]:
    """The ids of a traceparent, as log records have them."""
    own = parse(traceparent)
    return {"trace_id": own.trace_id, "span_id": own.span_id} if own else {}


class span:  # noqa: N801 - used as a verb: `with span("claim"):`
    """One piece of work, logged when it ends: at debug level, in the logger `portcall.trace`.

    Its parent is `traceparent`, or the current span. Inside, `current()` is this span. Its ids are drawn
    when somebody asks for them: most spans of a process that nobody traces need none.
    """

    __slots__ = ("_above", "_began", "_own", "_token", "attributes", "name")

    def __init__(self, name: str, traceparent: str = "", **attributes: Any) -> None:
        self.name = name
        self.attributes = attributes
        self._above: str | span | None = traceparent or _current.get()
        self._own = ""

    @property
    def parent(self) -> str:
        above = self._above
        return above.traceparent if isinstance(above, span) else above or ""

    @property
    def traceparent(self) -> str:
        if not self._own:
            self._own = child(self.parent)
        return self._own

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        if _log.isEnabledFor(logging.DEBUG):
            self._write(kind)

    def _write(self, kind: type[BaseException] | None) -> None:
        own, above = parse(self.traceparent), parse(self.parent)
        facts = {
            "trace_id": own.trace_id if own else "",
            "span_id": own.span_id if own else "",
            "parent_id": above.span_id if above else None,
            "duration_ms": round((time.perf_counter() - self._began) * 1000, 3),
            "failed": kind.__name__ if kind else None,
        }
        _log.debug("%s", self.name, extra=self.attributes | facts)


def _random(size: int) -> str:
    return os.urandom(size).hex()
