"""`workbook`: named tools, and their place where a step says `kind: workbook`."""

from __future__ import annotations

from dataclasses import dataclass, field

from portcall.playbook.fields import Fields
from portcall.playbook.problems import did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.source import Node

ENTRY_KEYS = ("name", "tool", "desc", "input", "assert")


@dataclass(slots=True)
class Workbook:
    """The named tools of a playbook, as nodes: each use is read anew, with the use's own keys over it."""

    report: Report
    entries: dict[str, Node] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def read(self, nodes: list[Node]) -> None:
        for node in nodes:
            fields = Fields(self.report, node, "a workbook entry", ENTRY_KEYS)
            name = fields.text("name", needed=True)
            tool = fields.need("tool")
            if tool is not None and tool.kind != "map":
                fields.wrong(tool, "tool", "one tool, as a map")
            elif name in self.entries:
                self.report.error(fields.get("name") or node, f"There are two workbook entries {quoted(name)}.")
            elif name and tool is not None:
                self.entries[name] = _with_defaults(node, tool)

    def inline(self, call: Node, step_input: Node | None) -> Node:
        """The tool that a `kind: workbook` names, with the call's keys over it; a wrong call itself."""
        merged, seen = call, set[str]()
        while _value(merged, "kind") == "workbook":
            name = _value(merged, "name")
            place = merged.get("name") or call
            entry = self.entries.get(name) if isinstance(name, str) else None
            if not isinstance(name, str) or entry is None:
                self._unknown(place, name)
                return call
            if name in seen:
                self.report.error(place, f"The workbook entry {quoted(name)} leads back to itself.")
                return call
            seen.add(name)
            self.used.add(name)
            merged = _over(entry, merged, step_input)
            step_input = None
        return merged

    def unused(self) -> list[Node]:
        return [node for name, node in self.entries.items() if name not in self.used]

    def _unknown(self, place: Node, name: object) -> None:
        if not isinstance(name, str):
            self.report.error(place, "`kind: workbook` needs the `name` of a workbook entry.", key="name")
            return
        hint = did_you_mean(name, self.entries)
        self.report.error(place, f"There is no workbook entry {quoted(name)}.", found=name, hint=hint)


def _value(node: Node, key: str) -> object:
    child = node.get(key)
    return child.value if child is not None else None


def _with_defaults(entry: Node, tool: Node) -> Node:
    """The entry's tool with the entry's own `input` and `assert` under the tool's."""
    node = _map(tool, dict(tool.keys))
    for key in ("assert", "input"):
        if key in entry.keys and key not in tool.keys:
            node.keys[key] = entry.keys[key]
    if "input" in entry.keys and "input" in tool.keys:
        node.keys["input"] = _merged_input(entry, tool, None)
    return node


def _over(entry: Node, call: Node, step_input: Node | None) -> Node:
    """Inputs merge key by key, the nearer wins: the workbook's, the step's, the call's."""
    own = {key: pair for key, pair in call.keys.items() if key not in ("kind", "name", "input")}
    node = _map(call, {**entry.keys, **own})
    node.keys.pop("name", None)
    if "name" in entry.keys and _value(entry, "kind") == "workbook":
        node.keys["name"] = entry.keys["name"]
    if "input" in entry.keys or "input" in call.keys:
        node.keys["input"] = _merged_input(entry, call, step_input)
    return node


def _merged_input(far: Node, near: Node, between: Node | None) -> tuple[Node, Node]:
    pairs = [node.keys["input"] for node in (near, far) if "input" in node.keys]
    odd = [pair for pair in pairs if pair[1].kind != "map"]
    if odd:
        return odd[0]
    keys = {}
    for source in (far.get("input"), between, near.get("input")):
        keys.update(source.keys if source is not None else {})
    return pairs[0][0], _map(pairs[0][1], keys)


def _map(place: Node, keys: dict[str, tuple[Node, Node]]) -> Node:
    node = Node("map", place.line, place.column)
    node.keys = keys
    node.origin = place.origin or place
    return node
