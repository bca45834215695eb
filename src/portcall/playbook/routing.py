"""`next` of a step, in its four shapes: a step, a list of steps, a list of arcs, a map with `arcs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from portcall.playbook import templates
from portcall.playbook.fields import Fields, what
from portcall.playbook.model import Arc
from portcall.playbook.problems import did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.source import Node

ARC_KEYS = ("step", "when", "set")
Mode = Literal["exclusive", "inclusive"]
MODES: tuple[Mode, ...] = get_args(Mode)
_REFUSED = {"args": "An arc has no `args`; values for the next step go through `set`."}


@dataclass(slots=True)
class Routing:
    """Reads the arcs of every step, and knows the names that they may lead to."""

    report: Report
    names: frozenset[str]
    hidden: frozenset[str]

    def read(self, node: Node | None, step: str, *, looped: bool) -> tuple[Mode, tuple[Arc, ...]]:
        if node is None:
            return "exclusive", ()
        mode: Mode = "exclusive"
        nodes = [node]
        if node.kind == "list":
            nodes = node.items
            # Names alone leave nothing to choose by: all of them are meant.
            mode = "inclusive" if len(nodes) > 1 and all(item.kind == "scalar" for item in nodes) else mode
        elif node.kind == "map" and not ("step" in node.keys and "arcs" not in node.keys):
            mode, nodes = self._map(node)
        arcs = [self._arc(item, step, looped=looped) for item in nodes]
        if mode == "exclusive":
            self._shadowed(nodes, arcs)
        return mode, tuple(arc for arc in arcs if arc is not None)

    def _map(self, node: Node) -> tuple[Mode, list[Node]]:
        fields = Fields(self.report, node, "a `next`", ("spec", "arcs"))
        spec = fields.mapping("spec")
        mode: Mode = "exclusive"
        if spec is not None:
            mode = Fields(self.report, spec, "a next's `spec`", ("mode",)).choice("mode", MODES, mode)
        return mode, fields.sequence("arcs")

    def _arc(self, node: Node, step: str, *, looped: bool) -> Arc | None:
        if node.kind == "scalar":
            return Arc(node.value) if self._target(node, node.value) else None
        if node.kind == "list":
            self.report.error(node, "An arc is a step's name or a map, not a list.", found=what(node))
            return None
        fields = Fields(self.report, node, "an arc", ARC_KEYS, refused=_REFUSED)
        when = templates.condition(fields)
        writes = templates.targets(fields, bare=False, looped=looped)
        place = fields.need("step")
        if place is None or not self._target(place, place.value):
            return None
        return Arc(place.value, when, writes, templates.reads_outcome(when, step, self.hidden))

    def _target(self, place: Node, name: object) -> bool:
        if not isinstance(name, str):
            self.report.error(
                place, f"An arc leads to a step by its name, not {what(place)}.", found=what(place)
            )
            return False
        if name in self.names:
            return True
        self.report.error(
            place, f"There is no step {quoted(name)}.", found=name, hint=did_you_mean(name, self.names)
        )
        return False

    def _shadowed(self, nodes: list[Node], arcs: list[Arc | None]) -> None:
        """Warn of arcs behind one that always holds. A failure may still take those that read it."""
        always = False
        for node, arc in zip(nodes, arcs, strict=True):
            if arc is None:
                continue
            if always and not arc.reads_outcome:
                self.report.warning(
                    node,
                    f"The arc to {quoted(arc.step)} is never taken: an arc before it always holds.",
                    hint="give the earlier arc a `when`, or say `spec: {mode: inclusive}`",
                )
            always = always or arc.when is None or arc.when is True
