"""The filters that portcall adds to the engine's own."""

from __future__ import annotations

import base64
import binascii
import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

from portcall.errors import ExpressionError
from portcall.expression.view import Budget, ListView, unwrap

RANGE_LIMIT: Final = 10_000


def from_json(text: Any) -> Any:
    """The value that a JSON text holds. ExpressionError when it is none."""
    try:
        return json.loads(_text(text, "fromjson"))
    except ValueError:
        raise ExpressionError("fromjson was given text that is not JSON") from None


def b64encode(text: Any) -> str:
    """Base64 (RFC 4648, with padding) of the text in UTF-8."""
    return base64.b64encode(_text(text, "b64encode").encode()).decode()


def b64decode(text: Any) -> str:
    """The text, in UTF-8, that base64 holds. ExpressionError when it is not base64, or not text."""
    try:
        return base64.b64decode(_text(text, "b64decode"), validate=True).decode()
    except (binascii.Error, ValueError):
        raise ExpressionError("b64decode was given something that is not base64 of UTF-8 text") from None


def shell_quote(value: Any) -> str:
    """The value as one word of a POSIX shell; a list as several. What is not text is written as JSON."""
    value = unwrap(value)
    if isinstance(value, list | tuple):
        return " ".join(shell_quote(each) for each in value)
    return shlex.quote(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def bounded_range(*arguments: int) -> ListView:
    """Python's `range`, of at most 10,000 numbers."""
    numbers = range(*arguments)
    if len(numbers) > RANGE_LIMIT:
        raise ExpressionError(f"range gives at most {RANGE_LIMIT} numbers")
    return ListView(list(numbers), Budget())


def truncate(text: Any, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 5) -> str:  # noqa: FBT001, FBT002 - as Jinja has it
    """At most `length` characters, `end` among them, as Jinja cuts them: at a word unless `killwords`."""
    whole = _text(text, "truncate")
    if len(whole) <= length + leeway:
        return whole
    cut = whole[: max(0, length - len(end))]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def wordcount(text: Any) -> int:
    """How many words a text has."""
    return len(_text(text, "wordcount").split())


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"{name} needs text")
    return value


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "fromjson": from_json,
    "from_json": from_json,
    "b64encode": b64encode,
    "b64decode": b64decode,
    "shell_quote": shell_quote,
    "truncate": truncate,
    "wordcount": wordcount,
}
