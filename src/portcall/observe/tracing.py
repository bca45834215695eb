"""Spans over HTTP hops by W3C `traceparent`: who caused what, without any other machinery.

Format: `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`, https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import contextvars
import logging
import os
import re
import time
from types import TracebackType
from typing import Any, NamedTuple, Self

_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_log = logging.getLogger("portcall.trace")
_current: contextvars.ContextVar[str] = contextvars.ContextVar("portcall_traceparent", default="")


class Trace(NamedTuple):
    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


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
    return str(above._replace(span_id=_random(8))) if above else new_traceparent()


def current() -> str:
    """The traceparent of the innermost span around the caller; empty outside any."""
    return _current.get()


class span:  # noqa: N801 - used as a verb: `with span("claim"):`
    """One piece of work, logged when it ends: at debug level, in the logger `portcall.trace`.

    Its parent is `traceparent`, or the current span. Inside, `current()` is this span.
    """

    def __init__(self, name: str, traceparent: str = "", **attributes: Any) -> None:
        self.name = name
        self.attributes = attributes
        self.parent = traceparent or _current.get()
        self.traceparent = child(self.parent)

    def __enter__(self) -> Self:
        self._token = _current.set(self.traceparent)
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
