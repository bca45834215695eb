"""`loop` of a step."""

from __future__ import annotations

import re
from typing import Literal, get_args

from portcall.playbook import templates
from portcall.playbook.fields import Fields, is_template
from portcall.playbook.model import Loop
from portcall.playbook.report import Report
from portcall.playbook.source import Node

LOOP_KEYS = ("in", "iterator", "spec")
Mode = Literal["sequential", "parallel", "cursor"]
MODES: tuple[Mode, ...] = get_args(Mode)
_NAME = re.compile(r"[A-Za-z_]\w*")
_FOREIGN = {
    key: f"`{key}` steers another engine's storage; it has no effect here." for key in ("policy", "frame")
}
_CURSOR = "`mode: cursor` is part of the language, but this version of portcall does not have it yet."


def read(report: Report, node: Node | None) -> Loop | None:
    if node is None:
        return None
    cursor = {"cursor": _CURSOR}
    fields = Fields(report, node, "a `loop`", LOOP_KEYS, refused=cursor)
    spec = fields.mapping("spec")
    inner = (
        Fields(report, spec, "a loop's `spec`", ("mode", "max_in_flight"), foreign=_FOREIGN) if spec else None
    )
    mode: Mode = inner.choice("mode", MODES, "sequential") if inner else "sequential"
    in_flight = inner.whole("max_in_flight", None) if inner else None
    if inner and mode == "cursor" and "cursor" not in node.keys:
        report.error(inner.get("mode") or node, _CURSOR)
    if spec and mode == "sequential" and in_flight and in_flight > 1:
        report.warning(spec.key("max_in_flight"), "`max_in_flight` has no effect on a sequential loop.",
                       hint="add `mode: parallel`")  # fmt: skip
    iterator = fields.text("iterator", "item")
    place = fields.get("iterator")
    if place is not None and not _NAME.fullmatch(iterator):
        fields.wrong(place, "iterator", "a name of letters, digits and underscores")
    items = fields.get("in") if mode == "cursor" else fields.need("in")
    if items is not None and not (items.kind == "list" or is_template(items.value)):
        fields.wrong(items, "in", "a list, or an expression that gives one")
    templates.check(report, items)
    if items is not None:
        templates.no_secrets(report, items)
    data = items.data() if items else []
    return Loop(items=data, iterator=iterator, mode=mode, max_in_flight=in_flight)
