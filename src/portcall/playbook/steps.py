"""One entry of `workflow`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from portcall.playbook import loop, templates
from portcall.playbook.fields import Fields
from portcall.playbook.model import Step
from portcall.playbook.report import Report
from portcall.playbook.retry import retries
from portcall.playbook.routing import Routing
from portcall.playbook.source import Node
from portcall.playbook.tools import StepPart, Tools

STEP_KEYS = ("step", "desc", "when", "input", "tool", "set", "retry", "loop", "next", "spec")
RESERVED = frozenset({
    "ctx", "workload", "output", "event", "iter", "input", "step", "steps", "item", "keychain", "execution_id",
    "_attempt", "_index", "_total", "loop_index",
    "true", "false", "none", "not", "and", "or", "in", "is", "if", "else",
})  # fmt: skip
"""Names of the expressions' scope, and words of their language: no step can be read by such a name."""
_NAME = re.compile(r"[^\W\d]\w*")
_FOREIGN = {"output": "`output` steers another engine's storage; it has no effect here."}
_REFUSED = {
    "case": "`case` is not part of the language; write `next` with arcs that have a `when`.",
    "args": "A step has no `args`; its values go in `input`.",
}
_FOREIGN_SPEC = {
    key: f"`{key}` steers another engine; it has no effect here." for key in ("pool", "task", "output")
}
_REFUSED_SPEC = {
    "policy": "`policy` stands in the tool's `spec`, not the step's; a step's own condition is `when`.",
}


@dataclass(slots=True)
class Steps:
    """Reads steps."""

    report: Report
    tools: Tools
    routing: Routing

    def read(self, node: Node, name: str, index: int) -> Step:
        fields = Fields(self.report, node, "a step", STEP_KEYS, foreign=_FOREIGN, refused=_REFUSED)
        spec = fields.mapping("spec")
        if spec is not None:
            Fields(self.report, spec, "a step's `spec`", (), foreign=_FOREIGN_SPEC, refused=_REFUSED_SPEC)
        looped = loop.read(self.report, fields.mapping("loop"))
        when = templates.condition(fields)
        inputs = templates.checked(fields, "input")
        writes = templates.targets(fields, bare=False, looped=looped is not None)
        reads = templates.names(inputs, writes)
        part = StepPart(name, looped is not None, fields.node.get("input"), reads)
        body = fields.need("tool", "a step that only routes has `tool: {kind: noop}`")
        tools = self.tools.of_step(body, part) if body is not None else ()
        mode, arcs = self.routing.read(fields.get("next"), name, looped=looped is not None)
        retry = retries(self.report, fields.get("retry"))
        return Step(
            name=name,
            index=index,
            tools=tools,
            is_list=body is not None and body.kind == "list",
            desc=fields.text("desc"),
            when=when,
            input=inputs,
            set=writes,
            retry=retry,
            loop=looped,
            mode=mode,
            arcs=arcs,
            line=node.line,
        )


def step_name(report: Report, node: Node) -> str | None:
    """The name of a step, checked; None when it has none that can be used."""
    if node.kind != "map":
        Fields(report, node, "a step", STEP_KEYS)
        return None
    place = node.get("step")
    if place is None or place.is_null:
        hint = "a step's name stands under `step`, not `name`" if "name" in node.keys else ""
        report.error(node, "A step needs `step`, its name.", key="step", hint=hint)
        return None
    name = place.value
    if not isinstance(name, str) or not name.strip():
        report.error(place, "A step's name must be text.", hint="put it in quotes")
        return None
    if name in RESERVED:
        report.error(
            place,
            f"A step cannot be called `{name}`: expressions read something else by that name.",
            found=name,
        )
    elif name == "error":
        report.warning(place, "A step called `error` hides `error` in the arcs of the other steps.")
    elif not _NAME.fullmatch(name):
        hint = f"expressions reach it as steps['{name}']" if "'" not in name else ""
        report.warning(
            place, f"The step's name `{name}` is not one word of letters, digits and underscores.", hint=hint
        )
    return name
