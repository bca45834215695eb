"""`spec` of a tool: the rules of `spec.policy` that say what a result leads to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from portcall.playbook import templates
from portcall.playbook.duration import duration
from portcall.playbook.fields import Fields
from portcall.playbook.model import Rule, RuleAction, Then
from portcall.playbook.problems import did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.source import Node

Growth = Literal["none", "fixed", "linear", "exponential"]
ACTIONS: tuple[RuleAction, ...] = get_args(RuleAction)
BACKOFFS: tuple[Growth, ...] = get_args(Growth)
THEN_KEYS = ("do", "attempts", "backoff", "delay", "to", "set")
FOREIGN_SPEC = {
    key: f"`{key}` steers another engine; it has no effect here." for key in ("pool", "task", "frame", "output")
}


class Policy:
    """Reads the rules of one tool. `names`: the tools of its list, None where they are not known."""

    def __init__(self, report: Report, names: Collection[str] | None, *, in_list: bool, looped: bool) -> None:
        self._report = report
        self._names = names
        self._in_list = in_list
        self._looped = looped

    def rules(self, spec: Node | None) -> tuple[Rule, ...]:
        if spec is None:
            return ()
        fields = Fields(self._report, spec, "a tool's `spec`", ("policy",), foreign=FOREIGN_SPEC)
        policy = fields.mapping("policy")
        if policy is None:
            return ()
        inner = Fields(self._report, policy, "a tool's `policy`", ("rules",))
        nodes = inner.sequence("rules")
        rules = [self._rule(node) for node in nodes]
        for node in nodes[next((i + 1 for i, rule in enumerate(rules) if rule.when is None), len(rules)) :]:
            self._report.warning(node, "This rule is never reached: an `else` stands before it.")
        return tuple(rules)

    def _rule(self, node: Node) -> Rule:
        if node.kind == "map" and "else" in node.keys:
            fields = Fields(self._report, node, "an `else` rule", ("else",))
            inner = fields.mapping("else")
            if inner is None:
                return Rule(None, Then())
            if "then" not in inner.keys:
                return Rule(None, self._then(inner))
            inner_fields = Fields(self._report, inner, "an `else`", ("then",))
            then = inner_fields.mapping("then")
            return Rule(None, self._then(then) if then else Then())
        refused = {key: f"`{key}` belongs under `then`." for key in THEN_KEYS}
        fields = Fields(self._report, node, "a policy rule", ("when", "then"), refused=refused)
        if not refused.keys().isdisjoint(node.keys):
            return Rule(True, Then())  # noqa: FBT003 - a condition
        when = (
            templates.condition(fields) if fields.need("when", "a rule without a condition is `else`") else True
        )
        then = fields.mapping("then") if fields.need("then") else None
        return Rule(True if when is None else when, self._then(then) if then else Then())

    def _then(self, node: Node) -> Then:
        fields = Fields(self._report, node, "a rule's `then`", THEN_KEYS)
        action = fields.choice("do", ACTIONS, "continue")
        return Then(
            do=action,
            attempts=fields.whole("attempts", 3) or 3,
            backoff=fields.choice("backoff", BACKOFFS, "none"),
            delay=duration(fields, "delay", 1.0),
            to=self._jump(fields, action),
            set=templates.targets(fields, bare=self._in_list, looped=self._looped),
        )

    def _jump(self, fields: Fields, action: str) -> str | None:
        if action != "jump":
            return fields.text("to") or None
        to = fields.text("to", needed=True)
        place = fields.get("to")
        if place is None or not to or self._names is None:
            return to or None
        if to not in self._names:
            hint = did_you_mean(to, self._names) or "tools of this list: " + ", ".join(self._names)
            self._report.error(place, f"There is no tool {quoted(to)} in this list to jump to.", hint=hint)
        return to
