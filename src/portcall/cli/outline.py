"""Data of steps for people: what matters of a container's end, and indented text like YAML. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from portcall.cli.text import clean, one_line

CONTAINER = frozenset({"terminal_state", "exit_code", "job_uid", "result"})
"""By these keys the data of a container is known, as `model.outcome.data_of` makes it."""
DEEP = 12
NARROW = 20


def essence(data: Any) -> Any:
    """Of a container its own result, or how it ended in words; of a loop those of its iterations."""
    if not isinstance(data, dict):
        return data
    if data.keys() >= CONTAINER:
        return _ending(data)
    results = data.get("results")
    if isinstance(results, list) and data.keys() == {"results", "stats"}:
        return [essence(each) for each in results]
    return data


def _ending(data: Mapping[str, Any]) -> Any:
    if data["result"] is not None:
        return data["result"]
    state, code, message = data["terminal_state"], data["exit_code"], data.get("message") or ""
    if state == "succeeded":
        return message or f"exit code {code}"
    return f"{state}: {message}" if message else f"{state}, exit code {code}"


def outline(data: Any, width: int) -> Iterator[str]:
    """The data on lines of at most `width` columns where words allow it; short collections on one line."""
    yield from _block(data, max(width, NARROW), 0)


def _block(data: Any, width: int, depth: int) -> Iterator[str]:
    flat = _flat(data)
    if depth == DEEP or not data or not isinstance(data, dict | list) or _short(data, flat, width):
        yield from _wrapped(data if isinstance(data, str) else flat, width)
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _entry(f"{one_line(str(key))}:", value, width, depth)
    else:
        for value in data:
            yield from _entry("-", value, width, depth)


def _entry(head: str, value: Any, width: int, depth: int) -> Iterator[str]:
    """`head value` on one line if it fits; else what follows is indented below it, or hangs."""
    lines = list(_block(value, width - 2, depth + 1))
    inner = isinstance(value, dict | list) and lines != [_flat(value)]
    if head == "-" or (not inner and len(lines) == 1 and len(head) + 1 + len(lines[0]) <= width):
        yield f"{head} {lines[0]}".rstrip()
        yield from (f"  {line}" for line in lines[1:])
    elif isinstance(value, str) and "\n" not in value:
        text = f"{head} {clean(value)}"
        yield from textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
    else:
        yield head
        yield from (f"  {line}" for line in lines)


def _short(data: Mapping[str, Any] | Sequence[Any], flat: str, width: int) -> bool:
    """Whether it is written as JSON: numbers, a few words, a mapping of one entry."""
    if isinstance(data, Mapping):
        return len(data) == 1 and len(flat) <= width and not isinstance(next(iter(data.values())), dict | list)
    if any(isinstance(value, dict | list) for value in data):
        return False
    return len(flat) <= width or not any(isinstance(value, str) for value in data)


def _flat(data: Any) -> str:
    if isinstance(data, str):
        return clean(data)
    text = msgspec.json.format(msgspec.json.encode(data), indent=0).decode()
    return clean(text)


def _wrapped(text: str, width: int) -> Iterator[str]:
    lines = text.rstrip("\n").split("\n")
    for line in lines:
        yield from textwrap.wrap(clean(line), width, break_on_hyphens=False) or [""]
