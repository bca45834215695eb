"""The expressions of a playbook: their syntax, and the names they read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from portcall import expression
from portcall.playbook.fields import Fields, is_template
from portcall.playbook.model import Condition
from portcall.playbook.report import Report
from portcall.playbook.source import Node

_TARGET = re.compile(r"(?:ctx|step|iter)(?:\.[^.\s]+)+")
_BARE = re.compile(r"[A-Za-z_]\w*")
_SUBSCRIPT = re.compile(r"""\[\s*(['"])([^'"\]]+)\1\s*\]""")
_OWN = "_the_step_itself"
_OUTCOME_FIELDS = frozenset({"status", "error", "terminal_state", "exit_code", "reason"})
_OUTCOME_ROOTS = frozenset({"output", "error", "event"})


def check(report: Report, node: Node | None) -> None:
    """The syntax of every template below a node."""
    if node is None:
        return
    for scalar in node.walk():
        if is_template(scalar.value):
            problem = expression.check(scalar.value)
            if problem is not None:
                line, column, length = _place(report, scalar, problem.line, problem.offset)
                message = f"The expression cannot be read: {problem.message.rstrip('.')}."
                report.error_at(line, column, message, length=length, node=scalar)


def _place(report: Report, node: Node, line: int | None, offset: int | None) -> tuple[int, int, int]:
    """Where in the text a template's line (from 1) and offset in the whole template (from 0) stand."""
    text = str(node.value)
    if node.style == "|":
        before = text.split("\n")[: (line or 1) - 1]
        inside = max(0, (offset or 0) - sum(len(part) + 1 for part in before))
        source = report.line(node.line + (line or 1))
        own = text.split("\n")[len(before)] if len(before) < text.count("\n") + 1 else ""
        return node.line + (line or 1), len(source) - len(own) + inside + 1, 1
    quotes = node.length - len(text)
    if offset is not None and (quotes, node.style) in ((0, None), (0, ""), (2, "'"), (2, '"')):
        return node.line, node.column + quotes // 2 + min(offset, len(text) - 1), 1
    return node.line, node.column, node.length


def condition(fields: Fields, key: str = "when") -> Condition | None:
    """A `when`: an expression, or a plain boolean."""
    node = fields.get(key)
    if node is None:
        return None
    value = node.value
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        fields.wrong(node, key, "an expression or a boolean")
        return None
    if is_template(value):
        check(fields.report, node)
        no_secrets(fields.report, node)
    elif expression.check_condition(value) is not None:
        fields.report.error(
            node,
            f"`{key}` is plain text: neither an expression nor true or false.",
            hint='write it as "{{ ... }}"',
        )
    return value


def targets(fields: Fields, *, bare: bool, looped: bool = True) -> dict[str, Any]:
    """A `set` map, its targets checked. `bare`: plain names are allowed too."""
    node = fields.mapping("set")
    if node is None:
        return {}
    for name, (place, _) in node.keys.items():
        if name.startswith("iter.") and not looped:
            fields.report.warning(
                place, f"`{name}` is lost: this step has no loop.", hint="use `step.` or `ctx.`"
            )
        if _TARGET.fullmatch(name) or (bare and _BARE.fullmatch(name)):
            continue
        expected = "`ctx.x`, `step.x` or `iter.x`" + (", or a bare name" if bare else "")
        hint = f"write `ctx.{name}`" if _BARE.fullmatch(name) else ""
        fields.report.error(
            place, f"`set` cannot write `{name}`; a target is {expected}.", found=name, hint=hint
        )
    check(fields.report, node)
    no_secrets(fields.report, node)
    return fields.data("set")


def no_secrets(report: Report, node: Node) -> None:
    """Say where `keychain` cannot be read: what is evaluated by the server goes into the log of facts."""
    for scalar in node.walk():
        if is_template(scalar.value) and "keychain" in expression.roots(scalar.value):
            report.warning(
                scalar,
                "`keychain` is undefined here: only the fields and the `input` of a tool can read it.",
            )


def checked(fields: Fields, key: str) -> dict[str, Any]:
    """A map of templates, such as `input`."""
    check(fields.report, fields.mapping(key))
    return fields.data(key)


def names(*values: Any) -> frozenset[str]:
    """The dotted names that the templates in JSON data read."""
    found: frozenset[str] = frozenset()
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            if is_template(value):
                found |= expression.names(value)
        elif isinstance(value, Mapping):
            stack += value.values()
        elif isinstance(value, (list, tuple)):
            stack += value
    return found


def reads_outcome(when: Condition | None, step: str, hidden: frozenset[str]) -> bool:
    """Whether a condition reads the outcome of its own step, so that it can handle a failure.

    `hidden`: names that mean something else in this playbook, such as a workload key called `event`.
    """
    if not isinstance(when, str) or not is_template(when):
        return False
    read = expression.names(_SUBSCRIPT.sub(partial(_as_attribute, step), when))
    return any(_of_outcome(name.split("."), step, hidden) for name in read)


def _as_attribute(step: str, match: re.Match[str]) -> str:
    """`output['status']` as `output.status`; the step's own name, whatever its letters, as `_OWN`."""
    key = match[2]
    if key == step:
        return f".{_OWN}"
    return f".{key}" if key.isidentifier() else match[0]


def _of_outcome(parts: list[str], step: str, hidden: frozenset[str]) -> bool:
    if parts[0] == "steps" and len(parts) > 1 and parts[0] not in hidden:
        if parts[1] not in (step, _OWN):
            return False
        parts = [step, *parts[2:]]
    root, rest = parts[0], parts[1:]
    if root != step and (root not in _OUTCOME_ROOTS or root in hidden):
        return False
    if root in ("error", "event") and root != step:
        return True
    if rest[:2] == ["http", "status"] and root == "output":
        return True
    if rest[:1] == ["data"]:
        return len(rest) > 1 and rest[1] in _OUTCOME_FIELDS - {"status", "error"}
    return bool(rest) and rest[0] in _OUTCOME_FIELDS
