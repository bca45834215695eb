"""Text -> checked `Playbook`: the root of a playbook, and what holds across its steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from portcall import expression
from portcall.playbook import graph, source, templates
from portcall.playbook.config import ToolSpec
from portcall.playbook.fields import Fields, is_template, what
from portcall.playbook.model import Graph, Playbook, Step
from portcall.playbook.problems import PlaybookError, Problem, did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.routing import Routing
from portcall.playbook.source import Node
from portcall.playbook.steps import Steps, step_name
from portcall.playbook.tools import Tools
from portcall.playbook.workbook import Workbook

API_VERSION = "noetl.io/v2"
ROOT_KEYS = ("apiVersion", "kind", "metadata", "workload", "keychain", "workbook", "workflow")
FOREIGN = {key: f"`{key}` steers another engine; it has no effect here." for key in ("executor", "tracing")}
_REFUSED = {"vars": "`vars` is not part of the language; values stand under `workload`."}


def load(text: str, kinds: Mapping[str, ToolSpec], file: str = "") -> Playbook:
    """The playbook. `PlaybookError` has every problem when there is an error among them."""
    playbook, problems = check(text, kinds, file)
    if playbook is None:
        raise PlaybookError(problems)
    return playbook


def check(text: str, kinds: Mapping[str, ToolSpec], file: str = "") -> tuple[Playbook | None, list[Problem]]:
    """The playbook, or None if it has errors, and all problems, warnings and notes too, by place."""
    text = text.removeprefix("\ufeff")
    report = Report(file, text)
    root = source.parse(text, report)
    playbook = None
    if root is not None and root.kind == "map":
        playbook = _Document(report, root, kinds).read(text, file)
    elif root is not None:
        report.error(root, f"A playbook is a map with `apiVersion`, `kind` and `workflow`, not {what(root)}.")
    elif not report.failed:
        report.error_at(1, 1, "The playbook is empty.")
    problems = report.problems(root)
    if playbook is None or report.failed:
        return None, problems
    return msgspec.structs.replace(playbook, notes=tuple(map(str, problems))), problems


@dataclass(slots=True)
class _Document:
    report: Report
    root: Node
    kinds: Mapping[str, ToolSpec]

    def read(self, text: str, file: str) -> Playbook | None:
        fields = Fields(self.report, self.root, "a playbook", ROOT_KEYS, foreign=FOREIGN, refused=_REFUSED)
        self._identity(fields)
        meta = self._metadata(fields)
        name = meta.text("name", needed=True) if meta else ""
        workload = fields.data("workload")
        self._plain(fields.mapping("workload"))
        workbook = Workbook(self.report)
        workbook.read(fields.sequence("workbook"))
        keychain = self._keychain(fields)
        steps, shape = self._workflow(fields, workbook, frozenset(workload))
        if shape is None:
            return None
        return Playbook(
            name=name,
            path=(meta.text("path") if meta else "") or name,
            steps=steps,
            graph=shape,
            workload=workload,
            source=text,
            digest=hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(),
            version=_as_text(meta, "version"),
            desc=_as_text(meta, "description"),
            keychain=keychain,
            file=file,
        )

    def _identity(self, fields: Fields) -> None:
        for key, wanted in (("apiVersion", API_VERSION), ("kind", "Playbook")):
            node = fields.need(key, f"write `{key}: {wanted}`")
            if node is not None and node.value != wanted:
                fields.wrong(node, key, f"`{wanted}`")

    def _metadata(self, fields: Fields) -> Fields | None:
        if fields.need("metadata") is None:
            return None
        node = fields.mapping("metadata")
        return Fields(self.report, node, "`metadata`", tuple(node.keys)) if node is not None else None

    def _plain(self, workload: Node | None) -> None:
        """Say that values of the workload are data: callers replace them, and theirs are never evaluated."""
        for scalar in workload.walk() if workload else ():
            if is_template(scalar.value) and expression.check(scalar.value) is None:
                self.report.warning(
                    scalar,
                    "An expression in `workload` is not evaluated: it stays text.",
                    hint="give the value by `set` or `input` of a step",
                )

    def _keychain(self, fields: Fields) -> tuple[Mapping[str, Any], ...]:
        entries = []
        for node in fields.sequence("keychain"):
            entry = Fields(self.report, node, "a keychain entry", tuple(node.keys))
            if entry.is_map:
                entry.text("name", needed=True)
                templates.check(self.report, node)
                entries.append(node.data())
        return tuple(entries)

    def _workflow(
        self, fields: Fields, workbook: Workbook, workload: frozenset[str]
    ) -> tuple[dict[str, Step], Graph | None]:
        fields.need("workflow")
        written = fields.sequence("workflow")
        nodes = self._named(written)
        place = fields.get("workflow")
        if "start" not in nodes and place is not None and place.kind == "list":
            hint = did_you_mean("start", nodes) or "the first step is the one called `start`"
            self.report.error(self.root.key("workflow"), "There is no step `start`.", hint=hint)
        hidden = workload | ({"error"} & nodes.keys())
        tools = Tools(self.report, self.kinds, workbook)
        reader = Steps(self.report, tools, Routing(self.report, frozenset(nodes), hidden))
        steps: dict[str, Step] = {}
        for name, node in nodes.items():
            steps[name] = reader.read(node, name, len(steps))
        named = {id(node) for node in nodes.values()}
        for node in written:
            if node.kind == "map" and id(node) not in named:
                reader.read(node, _said_name(node), 0)  # it has no place in the graph, and problems of its own
        for node in workbook.unused():
            tools.of_workbook(node)
        return self._graph(steps, nodes) if "start" in steps else (steps, None)

    def _named(self, nodes: list[Node]) -> dict[str, Node]:
        named: dict[str, Node] = {}
        for node in nodes:
            name = step_name(self.report, node)
            if name is None:
                continue
            if name in named:
                line = named[name].line
                message = f"There are two steps {quoted(name)}; the first stands in line {line}."
                self.report.error(node.get("step") or node, message, found=name)
            else:
                named[name] = node
        return named

    def _graph(self, steps: dict[str, Step], nodes: Mapping[str, Node]) -> tuple[dict[str, Step], Graph]:
        arcs = [[steps[arc.step].index for arc in step.arcs] for step in steps.values()]
        shape = graph.build(tuple(steps), arcs, steps["start"].index)
        names = shape.graph.order
        for index in () if self.report.failed else shape.unreachable:
            place = nodes[names[index]].get("step") or nodes[names[index]]
            self.report.warning(
                place, f"No arc leads from `start` to the step {quoted(names[index])}; it never runs."
            )
        for source_index, arc in sorted(shape.tangled):
            step = steps[names[source_index]]
            place = nodes[step.name].get("next") or nodes[step.name]
            message = (
                f"The arc from {quoted(step.name)} to {quoted(step.arcs[arc].step)} closes a circle with more"
                " than one way in; it is taken as pointing back."
            )
            self.report.warning(place, message)
        for source_index in {source_index for source_index, _ in shape.back}:
            step = steps[names[source_index]]
            marked = (
                msgspec.structs.replace(arc, back=(source_index, i) in shape.back)
                for i, arc in enumerate(step.arcs)
            )
            steps[step.name] = msgspec.structs.replace(step, arcs=tuple(marked))
        return steps, shape.graph


def _as_text(meta: Fields | None, key: str) -> str:
    """Metadata is free: a version may be a number."""
    node = meta.get(key) if meta else None
    return "" if node is None or node.kind != "scalar" else str(node.value)


def _said_name(node: Node) -> str:
    """What a step whose name cannot be used calls itself."""
    name = node.get("step")
    return str(name.value) if name is not None and name.kind == "scalar" else "step"
