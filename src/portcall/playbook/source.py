"""YAML text -> a tree of nodes, each with its place in the text.

Built from parser events in a loop, not by recursion, so that hostile nesting meets our bound and
not the end of the C stack. Mapping keys are text; a key given twice is an error; aliases are
bounded by what they expand to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from portcall.playbook.scalar import PREFIX, ScalarError, plain, tagged

MAX_BYTES = 1 << 20
MAX_DEPTH = 100
MAX_ALIASED = 100_000
"""How much all aliases together may add, in nodes (32 characters of text count as one)."""

Kind = Literal["map", "list", "scalar"]


class Node:
    """One YAML node. `line` and `column` count from 1; `length` is the width of a one-line scalar."""

    __slots__ = ("column", "items", "keys", "kind", "length", "line", "origin", "size", "style", "value")

    def __init__(self, kind: Kind, line: int, column: int, length: int = 1) -> None:
        self.kind = kind
        self.line = line
        self.column = column
        self.length = length
        self.value: Any = None
        """A scalar's value; for the others see `items` and `keys`."""
        self.items: list[Node] = [] if kind == "list" else _NO_ITEMS
        """The members of a list, or the values of a map in the order of `keys`."""
        self.keys: dict[str, tuple[Node, Node]] = {} if kind == "map" else _NO_KEYS
        """For a map: the nodes of key and value."""
        self.style: str | None = None
        self.size = 1
        self.origin: Node | None = None
        """For a node that was put together from others: where it stands."""

    def get(self, key: str) -> Node | None:
        pair = self.keys.get(key)
        return pair[1] if pair else None

    def key(self, key: str) -> Node:
        """The node of the key itself, for pointing at."""
        return self.keys[key][0]

    @property
    def is_null(self) -> bool:
        return self.kind == "scalar" and self.value is None

    def data(self) -> Any:
        """The node as JSON data."""
        if self.kind == "scalar":
            return self.value
        if self.kind == "list":
            return [item.data() for item in self.items]
        return {key: value.data() for key, (_, value) in self.keys.items()}

    def walk(self) -> Iterator[Node]:
        """Every scalar below, itself included."""
        if self.kind == "scalar":
            yield self
        elif self.kind == "list":
            for item in self.items:
                yield from item.walk()
        else:
            for _, value in self.keys.values():
                yield from value.walk()


# Shared by all nodes that have none, and never written to: a text has thousands of scalars.
_NO_ITEMS: list[Node] = []
_NO_KEYS: dict[str, tuple[Node, Node]] = {}


class Complaints(Protocol):
    """Where problems with the text go."""

    def error_at(self, line: int, column: int, message: str, *, length: int = 1, hint: str = "") -> None: ...


class _Stop(Exception):  # noqa: N818 - not an error of its own: the complaint is already made
    """The text cannot be read on."""


def parse(text: str, complaints: Complaints) -> Node | None:
    """The root node; None when the text cannot be read at all, which `complaints` then knows."""
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        complaints.error_at(1, 1, f"The text is larger than {MAX_BYTES >> 20} MiB; split the playbook.")
        return None
    loader = None
    try:
        loader = yaml.CSafeLoader(text)
        return _Builder(loader, complaints).build()
    except yaml.MarkedYAMLError as error:
        _syntax(error, text, complaints)
    except yaml.reader.ReaderError as error:
        _unreadable(error, text, complaints)
    except UnicodeError:
        complaints.error_at(1, 1, "The text holds half of a character pair, which is not Unicode text.")
    except _Stop:
        pass
    finally:
        if loader is not None:
            loader.dispose()
    return None


class _Builder:
    def __init__(self, loader: yaml.CSafeLoader, complaints: Complaints) -> None:
        self._next = loader.get_event
        self._complaints = complaints
        self._stack: list[Node] = []
        self._pending: list[Node | None] = []
        self._anchors: dict[str, Node | None] = {}
        self._names: list[str | None] = []
        self._aliased = 0
        self._documents = 0
        self._root: Node | None = None

    def build(self) -> Node | None:
        act: dict[type[Event], Callable[[Any], None]] = {
            ScalarEvent: lambda event: self._add(self._scalar(event), event.anchor),
            MappingStartEvent: self._open,
            SequenceStartEvent: self._open,
            MappingEndEvent: self._close,
            SequenceEndEvent: self._close,
            AliasEvent: lambda event: self._add(self._alias(event), None),
            DocumentStartEvent: self._document,
        }
        while (event := self._next()) is not None:
            if action := act.get(type(event)):
                action(event)
        return self._root

    def _document(self, event: Event) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(event, "A second document starts here; a playbook file holds one.")

    def _stop(self, event: Event, message: str, hint: str = "") -> None:
        self._complaints.error_at(*_start(event), message, hint=hint)
        raise _Stop

    def _scalar(self, event: ScalarEvent) -> Node:
        start, end = event.start_mark, event.end_mark
        line, column = _start(event)
        length = end.column - start.column if start and end and end.line == start.line else 1
        node = Node("scalar", line, column, max(length, 1))
        node.style = event.style
        text: str = event.value
        node.size = 1 + len(text) // 32
        try:
            if event.tag is not None:
                node.value = tagged(event.tag, text)
            else:
                node.value = plain(text) if event.implicit[0] and not event.style else text
        except ScalarError as error:
            self._complaints.error_at(line, column, str(error), length=node.length)
            node.value = text
        return node

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        kind: Kind = "map" if isinstance(event, MappingStartEvent) else "list"
        node = Node(kind, *_start(event))
        wanted = PREFIX + ("map" if kind == "map" else "seq")
        if event.tag not in (None, "!", wanted):
            self._complaints.error_at(
                node.line, node.column, f"The tag `{event.tag}` is not one that a playbook may use."
            )
        if len(self._stack) >= MAX_DEPTH:
            self._stop(event, f"Nested more than {MAX_DEPTH} levels deep.")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(node)
        self._pending.append(None)
        self._names.append(event.anchor)

    def _close(self, _event: Event) -> None:
        node = self._stack.pop()
        self._pending.pop()
        if node.kind == "map" and "<<" in node.keys:
            self._merge(node)
        self._add(node, self._names.pop())

    def _alias(self, event: AliasEvent) -> Node:
        name = event.anchor or ""
        target = self._anchors.get(name)
        if target is None:
            why = "stands inside its own anchor" if name in self._anchors else "has no anchor above it"
            self._stop(event, f"The alias `*{name}` {why}.")
        assert target is not None  # noqa: S101 - _stop has raised otherwise
        self._aliased += target.size
        if self._aliased > MAX_ALIASED:
            self._stop(event, "The aliases expand to too much data; write it out, or make it smaller.")
        return target

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.size += node.size
        if parent.kind == "list":
            parent.items.append(node)
            return
        key = self._pending[-1]
        if key is None:
            self._pending[-1] = node
            return
        self._pending[-1] = None
        self._pair(parent, key, node)

    def _pair(self, parent: Node, key: Node, value: Node) -> None:
        name = key.value
        if not isinstance(name, str):
            self._odd_key(key)
        elif name in parent.keys:
            first = parent.keys[name][0].line
            message = f"The key `{name}` is given twice; it stands in line {first} already."
            self._complaints.error_at(key.line, key.column, message, length=key.length)
        else:
            parent.keys[name] = (key, value)

    def _odd_key(self, key: Node) -> None:
        what = "A key must be text; this is a " + (
            {"map": "map", "list": "list"}.get(key.kind)
            or {bool: "boolean", type(None): "null"}.get(type(key.value), "number")
        )
        hint = "put the key in quotes"
        if key.kind == "map":
            hint = 'an expression stands in quotes: "{{ ... }}"'
        self._complaints.error_at(key.line, key.column, what + ".", length=key.length, hint=hint)

    def _merge(self, node: Node) -> None:
        key, value = node.keys["<<"]
        if key.style:
            return
        del node.keys["<<"]
        sources = value.items if value.kind == "list" else [value]
        for source in sources:
            if source.kind != "map":
                self._complaints.error_at(
                    source.line, source.column, "A merge key `<<` takes a map, or a list of maps."
                )
                return
            for name, pair in source.keys.items():
                node.keys.setdefault(name, pair)


def _start(event: Event) -> tuple[int, int]:
    """Line and column, from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _syntax(error: yaml.MarkedYAMLError, text: str, complaints: Complaints) -> None:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    if mark and error.context_mark and (mark.line >= len(lines) or not lines[mark.line].strip()):
        mark = error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    source = lines[line - 1] if line <= len(lines) else ""
    if source[column - 1 : column] == "\t" or "\t" in source[: len(source) - len(source.lstrip())]:
        column = source.index("\t") + 1
        complaints.error_at(line, column, "A tab stands where YAML wants spaces.", hint="indent with spaces")
        return
    problem = (error.problem or "it cannot be read").rstrip(".")
    context = f" {error.context}" if error.context else ""
    hint = ""
    if "mapping values are not allowed" in problem:
        hint = "put a value that holds `: ` in quotes, or look at the indentation"
    elif source[column - 1 : column] in ("@", "`", "%"):
        hint = "put the value in quotes"
    complaints.error_at(line, column, f"Not YAML:{context and context + ':'} {problem}.", hint=hint)


def _unreadable(error: yaml.reader.ReaderError, text: str, complaints: Complaints) -> None:
    bad = next((i for i, char in enumerate(text) if _forbidden(char)), 0)
    line = text.count("\n", 0, bad) + 1
    column = bad - (text.rfind("\n", 0, bad) + 1) + 1
    complaints.error_at(line, column, f"Not YAML: {error.reason}.")


def _forbidden(char: str) -> bool:
    return not (
        char in "\t\n\r\x85" or "\x20" <= char <= "\x7e" or "\xa0" <= char <= "\ud7ff" or char >= "\ue000"
    )
