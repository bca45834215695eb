"""Expressions: the `{{ ... }}` of playbooks, evaluated within bounds, and the names that they read."""

from portcall.errors import ExpressionError
from portcall.expression.engine import TemplateProblem
from portcall.expression.evaluate import INSIDE, check_condition, defined, names, render, roots, test
from portcall.expression.redact import redact
from portcall.expression.template import check, is_template, is_whole_expression

__all__ = [
    "INSIDE",
    "ExpressionError",
    "TemplateProblem",
    "check",
    "check_condition",
    "defined",
    "is_template",
    "is_whole_expression",
    "names",
    "redact",
    "render",
    "roots",
    "test",
]
