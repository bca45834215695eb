"""Typed access to the keys of one map of a playbook, with a problem for everything that is off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from portcall.playbook.problems import did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.source import Node

Choice = TypeVar("Choice", bound=str)


def is_template(value: object) -> bool:
    """Whether a value is text that holds Jinja."""
    return isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)


def what(node: Node) -> str:
    """The node's value, for `found`."""
    if node.kind != "scalar":
        return "a " + node.kind
    return "nothing" if node.value is None else quoted(node.value)


class Fields:
    """A map node and the keys it may have. A null value counts as absent."""

    def __init__(  # noqa: PLR0913 - the two tables of odd keys are rare
        self,
        report: Report,
        node: Node,
        noun: str,
        known: Collection[str],
        *,
        foreign: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """`foreign`: keys without effect, and what to say; `refused`: keys with a sentence of their own."""
        self.report = report
        self.node = node
        self.noun = noun
        self.is_map = node.kind == "map"
        if not self.is_map:
            report.error(node, f"{noun[0].upper()}{noun[1:]} is a map.", found=what(node), expected="a map")
            return
        for key, (place, _) in node.keys.items():
            if key in known or key.startswith("x-"):
                continue
            if foreign and key in foreign:
                report.note(place, foreign[key])
            elif refused and key in refused:
                report.error(place, refused[key], found=key)
            else:
                unknown(report, place, key, noun, known)

    def get(self, key: str) -> Node | None:
        node = self.node.get(key)
        return None if node is None or node.is_null else node

    def need(self, key: str, hint: str = "") -> Node | None:
        node = self.get(key)
        if node is None and self.is_map:
            place = self.node.key(key) if key in self.node.keys else self.node
            self.report.error(
                place, f"{self.noun[0].upper()}{self.noun[1:]} needs `{key}`.", key=key, hint=hint
            )
        return node

    def wrong(self, node: Node, key: str, expected: str, hint: str = "") -> None:
        found = what(node)
        self.report.error(
            node, f"`{key}` must be {expected}, not {found}.", found=found, expected=expected, hint=hint
        )

    def text(self, key: str, default: str = "", *, needed: bool = False) -> str:
        """Text; numbers and dates are not taken for it."""
        node = self.need(key) if needed else self.get(key)
        if node is None:
            return default
        if isinstance(node.value, str):
            return node.value
        self.wrong(node, key, "text", "put it in quotes" if node.kind == "scalar" else "")
        return default

    def number(self, key: str, default: float, *, least: float = 0) -> float:
        node = self.get(key)
        if node is None:
            return default
        if isinstance(node.value, (int, float)) and not isinstance(node.value, bool) and node.value >= least:
            return node.value
        self.wrong(node, key, f"a number, {least:g} or more")
        return default

    def whole(self, key: str, default: int | None, *, least: int = 1) -> int | None:
        node = self.get(key)
        if node is None:
            return default
        if isinstance(node.value, int) and not isinstance(node.value, bool) and node.value >= least:
            return node.value
        self.wrong(node, key, f"a whole number, {least} or more")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        node = self.get(key)
        if node is None or isinstance(node.value, bool):
            return default if node is None else node.value
        self.wrong(node, key, "true or false")
        return default

    def choice(self, key: str, options: tuple[Choice, ...], default: Choice) -> Choice:
        node = self.get(key)
        if node is None:
            return default
        for option in options:
            if node.value == option:
                return option
        near = did_you_mean(node.value, options) if isinstance(node.value, str) else ""
        self.wrong(node, key, "one of " + ", ".join(options), near)
        return default

    def mapping(self, key: str) -> Node | None:
        """A map's node."""
        node = self.get(key)
        if node is None or node.kind == "map":
            return node
        self.wrong(node, key, "a map")
        return None

    def data(self, key: str) -> dict[str, Any]:
        """A map as JSON data; empty when it is absent or wrong."""
        node = self.mapping(key)
        return node.data() if node else {}

    def sequence(self, key: str) -> list[Node]:
        node = self.get(key)
        if node is None:
            return []
        if node.kind == "list":
            return node.items
        self.wrong(node, key, "a list")
        return []

    def words(self, key: str) -> tuple[str, ...]:
        """Text, or a list of text."""
        node = self.get(key)
        if node is None:
            return ()
        nodes = node.items if node.kind == "list" else [node]
        for item in nodes:
            if not isinstance(item.value, str):
                self.wrong(item, key, "text, or a list of text")
        return tuple(item.value for item in nodes if isinstance(item.value, str))


def unknown(report: Report, place: Node, key: str, noun: str, known: Collection[str]) -> None:
    """An unknown key, with the nearest known one."""
    hint = did_you_mean(key, known) or "known keys: " + ", ".join(sorted(known))
    report.error(place, f"{quoted(key)} is no key of {noun}.", found=key, hint=hint)
