"""`tool` of a step: one, or a list of named ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portcall.playbook import config, templates
from portcall.playbook.config import ToolSpec
from portcall.playbook.fields import Fields, what
from portcall.playbook.model import Assertion, Rule, Tool
from portcall.playbook.policy import Policy
from portcall.playbook.problems import did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.source import Node
from portcall.playbook.workbook import Workbook

COMMON_KEYS = ("kind", "name", "desc", "input", "set", "spec", "assert")
NOT_YET = frozenset({"postgres", "duckdb", "sqlite", "playbook", "callback", "artifact", "transfer"})
_OUTPUT = "`output` steers another engine's storage; it has no effect here."
_CONTEXT = re.compile(r"\bcontext\b")


@dataclass(slots=True)
class StepPart:
    """What a tool must know of its step."""

    name: str
    looped: bool
    input_node: Node | None
    reads: frozenset[str]
    """What the step's own `input` and `set` read."""


@dataclass(slots=True)
class Tools:
    """Reads tools. `kinds`: the tool kinds that there are."""

    report: Report
    kinds: Mapping[str, ToolSpec]
    workbook: Workbook

    def of_step(self, node: Node, step: StepPart) -> tuple[Tool, ...]:
        if node.kind == "map":
            tool = self._tool(node, step, step.name, None)
            return (tool,) if tool else ()
        if node.kind != "list" or not node.items:
            self.report.error(node, f"`tool` must be a map or a list of named tools, not {what(node)}.",
                              found=what(node), expected="a map or a list of named tools",
                              hint="write `tool: {kind: ...}`")  # fmt: skip
            return ()
        named = [self._named(item) for item in node.items]
        names = [name for name, _ in named if name]
        seen: set[str] = set()
        for (name, _), item in zip(named, node.items, strict=True):
            if name and name in seen:
                self.report.error(item, f"There are two tools {quoted(name)} in this list.", found=name)
            seen.add(name)
        tools = [self._tool(body, step, name, names) for name, body in named if body is not None]
        return tuple(tool for tool in tools if tool)

    def of_workbook(self, node: Node) -> None:
        """Check an entry that no step uses."""
        self._tool(self.workbook.inline(node, None), StepPart("", True, None, frozenset()), "", None)  # noqa: FBT003 - looped

    def _named(self, node: Node) -> tuple[str, Node | None]:
        """`{name: fetch, kind: http, ...}` or `{fetch: {kind: http, ...}}`."""
        if node.kind != "map":
            self.report.error(node, f"A tool in a list is a map, not {what(node)}.", found=what(node))
            return "", None
        if len(node.keys) == 1 and "kind" not in node.keys:
            label, (_, body) = next(iter(node.keys.items()))
            if body.kind == "map":
                return label, body
        fields = Fields(self.report, node, "a tool", tuple(node.keys))
        return fields.text("name", needed=True), node

    def _tool(self, node: Node, step: StepPart, name: str, names: list[str] | None) -> Tool | None:
        if _is_workbook(node):
            node = self.workbook.inline(node, step.input_node)
            if _is_workbook(node):
                return None
        fields = Fields(self.report, node, "a tool", tuple(node.keys))
        kind = fields.text("kind", needed=True)
        spec = self._kind(fields, kind)
        if names is None and not name:
            name = fields.text("name")
        rules = Policy(
            self.report, names, in_list=names is not None or not step.name, looped=step.looped
        ).rules(fields.mapping("spec"))
        inputs = self._inputs(fields, kind)
        writes = templates.targets(fields, bare=names is not None or not step.name, looped=step.looped)
        expects = self._assertion(fields)
        if spec is None:
            return None
        raw = config.raw_keys(spec)
        values = self._config(fields, kind, spec, raw)
        reads = _reads(raw, kind, values, [inputs, writes, _texts(rules)], step.reads)
        return Tool(name, kind, values, inputs, writes, rules, expects, reads)

    def _kind(self, fields: Fields, kind: str) -> ToolSpec | None:
        place = fields.get("kind")
        if place is None or not kind:
            return None
        spec = self.kinds.get(kind)
        if spec is None and kind in NOT_YET:
            message = (
                f"The kind `{kind}` is part of the language, but this version of portcall does not have it yet."
            )
            self.report.error(place, message, found=kind, expected=", ".join(sorted(self.kinds)))
        elif spec is None:
            known = [*self.kinds, "workbook"]
            hint = did_you_mean(kind, known) or "kinds: " + ", ".join(sorted(known))
            self.report.error(place, f"There is no tool kind {quoted(kind)}.", found=kind, hint=hint)
        return spec

    def _inputs(self, fields: Fields, kind: str) -> dict[str, Any]:
        if kind == "playbook" and "payload" in fields.node.keys and "input" not in fields.node.keys:
            return templates.checked(fields, "payload")
        return templates.checked(fields, "input")

    def _config(self, fields: Fields, kind: str, spec: ToolSpec, raw: frozenset[str]) -> dict[str, Any]:
        node = fields.node
        own = [key for key in node.keys if key not in COMMON_KEYS and not key.startswith("x-")]
        known = config.spellings(spec.Config)
        if "output" in own and "output" not in known:
            own.remove("output")
            self.report.note(node.key("output"), _OUTPUT)
        if kind == "playbook" and "payload" not in known and "payload" in own:
            own.remove("payload")
        config.validate(self.report, node, kind, spec, own)
        for key in own:
            if key not in raw:
                templates.check(self.report, node.get(key))
        return {key: node.keys[key][1].data() for key in own}

    def _assertion(self, fields: Fields) -> Assertion:
        node = fields.mapping("assert")
        if node is None:
            return Assertion()
        inner = Fields(self.report, node, "an `assert`", ("expects", "returns"))
        return Assertion(inner.words("expects"), inner.words("returns"))


def _is_workbook(node: Node) -> bool:
    kind = node.get("kind")
    return kind is not None and kind.value == "workbook"


def _texts(rules: tuple[Rule, ...]) -> list[Any]:
    return [part for rule in rules for part in (rule.when, dict(rule.then.set))]


def _reads(
    raw: frozenset[str], kind: str, values: Mapping[str, Any], others: list[Any], of_step: frozenset[str]
) -> frozenset[str] | None:
    if kind == "python" and any(_CONTEXT.search(str(values[key])) for key in raw if key in values):
        return None
    rendered = {key: value for key, value in values.items() if key not in raw}
    return of_step | templates.names(rendered, *others)
