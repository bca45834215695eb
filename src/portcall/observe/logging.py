"""Log records as JSON lines or for people, with the ids of what they speak of, and without secrets."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec

from portcall.observe import tracing
from portcall.observe.secrets import add_secret, redact

__all__ = ["add_secret", "configure", "redact"]

LEADING = ("execution_id", "step", "call_id", "attempt")
"""Extras that come first, in this order."""
_INHERITED = (*LEADING, "trace_id", "span_id")
"""What a record takes from the span around it."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_encoder = msgspec.json.Encoder(enc_hook=str)


def configure(
    level: str = "info",
    format: Literal["console", "json"] = "console",  # noqa: A002 - the usual word, also in logging
    stream: TextIO | None = None,
) -> None:
    """Send every record of `portcall` at `level`, and warnings of others, to `stream` (else stderr)."""
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_Json() if format == "json" else _Console())
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("portcall").setLevel(level.upper())


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class names it
        """A log that cannot be written (its reader is gone) must not disturb the work, or a terminal."""


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record, tracing.about()),
        }
        if trace := _traceback(self, record):
            line["traceback"] = trace
        return redact(_encode(line))


class _Console(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = _time(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        extras = "".join(f"  {key}={_short(value)}" for key, value in _extras(record, {}).items())
        name = record.name.removeprefix("portcall.")
        line = f"{stamp} {record.levelname.lower():7} {name}: {_one_line(record.getMessage())}{extras}"
        trace = _traceback(self, record)
        return redact(f"{line}\n{trace}" if trace else line)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extras(record: logging.LogRecord, around: dict[str, Any]) -> dict[str, Any]:
    """What the record was given, else what the span around it says."""
    given = {key: around[key] for key in _INHERITED if key in around} | vars(record)
    given = {key: value for key, value in given.items() if key not in _STANDARD and value is not None}
    first = {key: given.pop(key) for key in LEADING if key in given}
    return first | given


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _encode(line: dict[str, Any]) -> str:
    try:
        return _encoder.encode(line).decode()
    except (TypeError, ValueError, RecursionError):
        return _encoder.encode({key: _printable(value) for key, value in line.items()}).decode()


def _printable(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _one_line(text: str) -> str:
    """A message cannot forge a second record, nor move the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _short(value: object) -> str:
    text = _one_line(str(value))
    return f'"{text}"' if " " in text else text
