"""Values as short text for people. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SECOND_DIGIT_BELOW = 60.0


def duration(seconds: float) -> str:
    """`0.4s`, `12.3s`, `2m05s`, `1h02m`, `3d04h`."""
    seconds = max(seconds, 0.0)
    if round(seconds, 1) < _SECOND_DIGIT_BELOW:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days}d{hours_left:02}h"
    return f"{hours}h{minutes_left:02}m" if hours else f"{minutes}m{rest:02}s"


def elapsed(started: datetime | None, ended: datetime | None, now: datetime) -> str:
    return duration(((ended or now) - started).total_seconds()) if started else ""


def time_of_day(at: datetime) -> str:
    """`12:03:04` in the local time zone."""
    return at.astimezone().strftime("%H:%M:%S")


def date_and_time(at: datetime) -> str:
    """`2026-11-23 12:03:04` in the local time zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clean(text: str) -> str:
    """Without control characters: text from containers must not steer the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str, limit: int = 400) -> str:
    """The text on one line of at most `limit` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def compact(data: Any, limit: int = 400) -> str:
    """JSON data on one line of at most `limit` characters; nothing is the empty text."""
    if data is None:
        return ""
    return one_line(data if isinstance(data, str) else msgspec.json.encode(data).decode(), limit)


def pretty(data: Any) -> str:
    """JSON data on several lines."""
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


def plural(count: int, noun: str) -> str:
    """`1 container`, `2 containers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
