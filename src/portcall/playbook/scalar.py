"""Plain scalars as the YAML 1.2 core schema reads them.

YAML 1.1, which the parser below us speaks, turns `no` into false, `010` into 8 and `12:30` into 750;
1.2 does not (https://yaml.org/spec/1.2.2/#1032-tag-resolution).
"""

from __future__ import annotations

import math
import re

PREFIX = "tag:yaml.org,2002:"

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_NUMBER = re.compile(
    r"(?P<int>[-+]?[0-9]+)"
    r"|0o(?P<oct>[0-7]+)"
    r"|0x(?P<hex>[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<special>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_DIGITS = 300

Scalar = str | int | float | bool | None


class ScalarError(ValueError):
    """A scalar that JSON data cannot hold. The message is for a person."""


def plain(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first not in "+-.0123456789":
        return text
    match = _NUMBER.fullmatch(text)
    return _number(match, text) if match else text


def tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit tag of the core schema."""
    name = tag.removeprefix(PREFIX)
    if name in ("str", "!") or tag == "!":
        return text
    value = plain(text)
    kinds: dict[str, type | tuple[type, ...]] = {
        "int": int,
        "float": (int, float),
        "bool": bool,
        "null": type(None),
    }
    if name not in kinds:
        raise ScalarError(f"The tag `{tag}` is not one that a playbook may use.")
    if not isinstance(value, kinds[name]) or (name in ("int", "float") and isinstance(value, bool)):
        raise ScalarError(f"The value does not fit its tag `!!{name}`.")
    return float(value) if name == "float" and isinstance(value, int) else value


def _number(match: re.Match[str], text: str) -> int | float:
    kind = match.lastgroup
    if len(text) > _DIGITS:
        raise ScalarError(f"A number of more than {_DIGITS} digits; put it in quotes if it is text.")
    if kind == "int":
        return int(text)
    if kind == "oct":
        return int(match["oct"], 8)
    if kind == "hex":
        return int(match["hex"], 16)
    value = math.nan if kind == "special" else float(text)
    if not math.isfinite(value):
        raise ScalarError("Infinite and not-a-number values are not JSON data; put it in quotes if it is text.")
    return value
