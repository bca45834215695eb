"""Rendering data and judging conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from portcall.errors import ExpressionError
from portcall.expression import engine
from portcall.expression.engine import TemplateProblem
from portcall.expression.template import Template, is_template, parse

INSIDE: Final = "."
"""Of a name in the scope with this behind it: what a template sees that reads the name by its fields."""
_MISSING: Final = object()
_FALSE: Final = frozenset({"", "false", "no", "off", "0", "none", "null"})
_TRUE: Final = frozenset({"true", "yes", "on", "1"})


def render(value: Any, scope: Mapping[str, Any]) -> Any:
    """`value` with the templates in its strings replaced by what they make of `scope`.

    `value` is JSON data; maps (their keys too) and lists are rendered to any depth. A string that is exactly
    one `{{ expression }}` becomes that expression's value with its own type: null stays None, an undefined
    value is None. A plain dotted name gives the very object in the scope, not a copy; what an expression
    computes is new JSON data. Other templates make text as Jinja does: undefined is empty, None is "None",
    True is "True". Nothing is rendered twice, no HTML is escaped, a last newline is kept.

    ExpressionError when a template is wrong, cannot be evaluated, or makes more than 1 MiB.
    """
    try:
        return _render(value, scope)
    except RecursionError:
        raise ExpressionError("The data with the templates is nested too deeply") from None


def test(condition: str | bool, scope: Mapping[str, Any]) -> bool:  # noqa: FBT001 - a `when` may be a plain boolean
    """Whether a `when` holds.

    The value of a whole `{{ expression }}` counts as in Jinja: undefined, null, zero and what is empty are
    false. Text, made by an expression or a template or bare, is false when it is empty or one of false, no,
    off, 0, none, null, in any case. Bare or mixed text that is neither that nor true, yes, on, 1 is an
    ExpressionError: it is an expression whose braces were forgotten.
    """
    if isinstance(condition, bool):
        return condition
    template = parse(condition).sound()
    if template.path:
        value = _walk(template.path, scope)
        return value is not _MISSING and _holds(value)
    if template.form == "whole":
        # One evaluation; what is not text need not leave the engine.
        source = (
            f"{{% set __value = ({template.expression}) %}}"
            "{% if __value is string %}{{ __value }}{% elif __value %}1{% endif %}"
        )
        return _holds(_run(template, source, scope))
    text = condition if template.form == "text" else _run(template, template.safe, scope)
    word = text.strip().lower()
    if word in _FALSE or word in _TRUE:
        return word in _TRUE
    raise ExpressionError(f"The condition {template.shown} {_NEITHER}")


_NEITHER: Final = "is neither true nor false; write the whole of it inside of {{ }}"


def check_condition(condition: str | bool) -> TemplateProblem | None:  # noqa: FBT001 - as `test`
    """What is wrong with a `when`, as far as it can be told before it is evaluated."""
    if isinstance(condition, bool):
        return None
    template = parse(condition)
    if template.form == "text" and condition.strip().lower() not in _FALSE | _TRUE:
        return TemplateProblem(f"it {_NEITHER}")
    return template.problem


def defined(expression: str, scope: Mapping[str, Any]) -> bool:
    """Whether an expression, with or without its braces, has a value; null is one."""
    template = parse(expression if is_template(expression) else f"{{{{ {expression} }}}}").sound()
    if template.form != "whole":
        raise ExpressionError(f"{template.shown} is not one expression; write one {{{{ expression }}}}")
    if template.path:
        return _walk(template.path, scope) is not _MISSING
    return _run(template, f"{{{{ 1 if ({template.expression}) is defined }}}}", scope) == "1"


def names(value: Any) -> frozenset[str]:
    """The dotted names that the templates in `value` read from the scope, such as `fetch.data.x` and `item`.

    Names that a template sets itself are left out. `steps['a'].x` gives `steps` and `steps.a.x`, `steps[key]`
    gives `steps`, `rows.split(',')` gives `rows`. Templates with wrong syntax read nothing.
    """
    if isinstance(value, str):
        return parse(value).names if is_template(value) else frozenset()
    if isinstance(value, Mapping):
        return frozenset().union(*(names(each) for pair in value.items() for each in pair))
    if isinstance(value, list | tuple):
        return frozenset().union(*(names(each) for each in value))
    return frozenset()


def roots(value: Any) -> frozenset[str]:
    """The first parts of `names(value)`."""
    return frozenset(name.split(".", 1)[0] for name in names(value))


def _render(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return _string(value, scope) if is_template(value) else value
    if isinstance(value, Mapping):
        return {_key(key, scope): _render(child, scope) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_render(child, scope) for child in value]
    return value


def _key(key: Any, scope: Mapping[str, Any]) -> Any:
    if not isinstance(key, str) or not is_template(key):
        return key
    template = parse(key).sound()
    return _run(template, template.safe, scope)


def _string(text: str, scope: Mapping[str, Any]) -> Any:
    template = parse(text).sound()
    if template.path:
        value = _walk(template.path, scope)
        return None if value is _MISSING else value
    if template.form == "mixed":
        return _run(template, template.safe, scope)
    # Written as JSON inside the engine, where it is counted, and read here: types and big numbers survive.
    return json.loads(_run(template, f"{{{{ ({template.expression}) | tojson }}}}", scope))


def _run(template: Template, source: str, scope: Mapping[str, Any]) -> str:
    inside = {root: scope[root + INSIDE] for root in template.inside if root + INSIDE in scope}
    return engine.run(source, {**scope, **inside} if inside else scope, template.identifiers, template.shown)


def _walk(path: tuple[str, ...], scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    if len(path) > 1 and path[0] + INSIDE in scope:
        path = (path[0] + INSIDE, *path[1:])
    for part in path:
        if not isinstance(value, Mapping):
            return _MISSING
        value = value.get(part, _MISSING)
    return value


def _holds(value: Any) -> bool:
    return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)
