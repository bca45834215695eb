"""Durations as playbooks write them: seconds, or text such as `500ms`, `2s`, `1m`, `1h30m`."""

from __future__ import annotations

import re

from portcall.playbook.fields import Fields

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+|\d+(?:\.\d+)?")


def seconds(value: object) -> float | None:
    """The duration in seconds; None when it is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if value >= 0 else None
    if not isinstance(value, str) or not _WHOLE.fullmatch(value.strip()):
        return None
    parts = _PART.findall(value)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else float(value)


def duration(fields: Fields, key: str, default: float) -> float:
    """A field that is a duration, in seconds."""
    node = fields.get(key)
    if node is None:
        return default
    value = seconds(node.value)
    if value is None:
        fields.wrong(node, key, "seconds, or a duration such as 500ms, 2s, 1m or 1h")
        return default
    return value
