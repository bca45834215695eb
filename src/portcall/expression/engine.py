"""The template engine, and the only module that knows which one it is: minijinja.

Guards: fuel bounds the work and the text of one evaluation; data goes in as views; messages are made
here, because the engine's own quote values of the scope, which may be secrets.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from minijinja import Environment, TemplateError, _lowlevel

from portcall.errors import ExpressionError
from portcall.expression.filters import FILTERS, bounded_range
from portcall.expression.view import TOO_MUCH, Budget, wrap

FUEL: Final = 1_000_000
"""Steps of one evaluation: about 0.2 s of one core at worst. A loop over 10,000 rows takes some 60,000."""
OUTPUT_LIMIT: Final = 1024 * 1024
"""Bytes of UTF-8 that one template may make."""

_TYPES: Final = r"(?:undefined|none|bool|number|string|bytes|sequence|map|iterable|plain object|invalid value)"
_SAFE_DETAILS: Final = re.compile(
    rf"tried to use \S+ operator on unsupported types {_TYPES} and {_TYPES}"
    rf"|can only sum numbers, got {_TYPES}"
    rf"|cannot (?:calculate length of value of type|convert) {_TYPES}"
    r"|cannot perform a containment check on this value|cannot get (?:first|last) item from value"
    r"|range has too many elements|repeated (?:string|sequence) is too large"
    r"|recursion limit exceeded|invalid (?:float|integer) literal|too many arguments"
)
_UNKNOWN: Final = re.compile(r"(?:filter |test )?([^\W\d]\w*) is unknown|(.+) has no method named ([^\W\d]\w*)")
_DICT_NAMES: Final = frozenset(name for name in dir(dict) if not name.startswith("_"))
# The method of the extension itself: the Python one around it cannot take a name `self` in the context.
_RENDER: Final[Callable[..., str]] = _lowlevel.Environment.render_str  # type: ignore[attr-defined]
_local = threading.local()
# Analysis never runs Python code of ours, so one environment behind the interpreter lock serves all threads.
_analysis: Final = Environment(debug=False, undefined_behavior="chainable", keep_trailing_newline=True)


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong with a template. `line` counts from 1 in the template; `offset` is in characters from 0."""

    message: str
    line: int = 1
    offset: int | None = None


def run(source: str, scope: Mapping[str, Any], reads: frozenset[str], shown: str) -> str:
    """The text that `source` makes. `shown` is the template as errors may quote it.

    Of `scope` only the names in `reads` are looked at.
    """
    budget = Budget()
    try:
        context = {name: wrap(scope[name], budget) for name in reads if name in scope}
        # The context is a dict to the engine: a name such as `items` that is not in it would be its method.
        for name in _DICT_NAMES & reads:
            if name not in context:
                source = f"{{% set {name} = __undefined %}}{source}"
        text = _RENDER(_environment(), source, None, **context)
    except Exception as error:  # noqa: BLE001 - data that are not JSON, and methods, may raise anything
        raise ExpressionError(f"{shown} cannot be evaluated: {_reason(error, shown)}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        del _local.environment  # a panic leaves its lock unusable
        raise ExpressionError(f"{shown} cannot be evaluated: the engine gave up") from None
    if budget.left < 0:
        raise ExpressionError(f"{shown} cannot be evaluated: {TOO_MUCH}")
    if len(text) > OUTPUT_LIMIT // 4 and len(text.encode()) > OUTPUT_LIMIT:
        raise ExpressionError(
            f"{shown} makes more than {OUTPUT_LIMIT // 1024} KiB; pass large data by reference"
        )
    return text


def undeclared(source: str) -> frozenset[str]:
    """The dotted names that a template with sound syntax reads."""
    return frozenset(_analysis.undeclared_variables_in_str(source, nested=True))


def problem(source: str) -> TemplateProblem | None:
    """What is wrong with the syntax, if anything."""
    try:
        _analysis.undeclared_variables_in_str(source)
    except TemplateError as error:
        place = error.range
        # The engine counts bytes.
        offset = len(source.encode()[: place[0]].decode(errors="ignore")) if place else None
        return TemplateProblem(error.detail or "the syntax is wrong", error.line or 1, offset)
    return None


def _environment() -> Environment:
    environment: Environment | None = getattr(_local, "environment", None)
    if environment is None:
        environment = Environment(
            debug=False, fuel=FUEL, undefined_behavior="chainable", keep_trailing_newline=True, filters=FILTERS
        )
        environment.remove_global("debug")  # it prints the scope
        environment.add_global("range", bounded_range)
        _local.environment = environment
    return environment


@lru_cache(maxsize=512)
def has_filter(name: str) -> bool:
    """Whether there is a filter of that name."""
    try:
        _RENDER(_environment(), f"{{{{ 1 | {name} }}}}")
    except TemplateError as error:
        return error.kind != "UnknownFilter"
    except Exception:  # noqa: BLE001 - the filter is there, and does not like what it got
        return True
    return True


def _reason(error: Exception, shown: str) -> str:
    if isinstance(error, TemplateError):
        return _engine_reason(error, shown)
    if isinstance(error, ExpressionError):
        return error.message
    if isinstance(error, AttributeError | TypeError | ValueError | LookupError):
        return "a method does not exist or cannot take what it was given"
    return type(error).__name__


def _engine_reason(error: TemplateError, shown: str) -> str:
    detail = error.detail or ""
    if unknown := _UNKNOWN.fullmatch(detail):
        # `map(name)` takes the filter's name from the data, so only names of the template itself are told.
        name = unknown[1] or unknown[3]
        kind = error.kind.removeprefix("Unknown").lower()
        known = re.search(rf"\b{name}\b", shown) is not None
        return (
            f"there is no {kind} {name}{f' on a {unknown[2]}' if unknown[2] else ''}"
            if known
            else f"there is no such {kind}"
        )
    if error.kind == "InvalidOperation" and detail.startswith("unable to calculate"):
        return "the numbers cannot be calculated with (divided by zero, or too large)"
    if error.kind == "InvalidOperation" and not detail:
        return "- and * work on numbers; only text in quotes can be repeated"
    if error.kind == "SyntaxError" or _SAFE_DETAILS.fullmatch(detail):
        return detail
    return _REASONS.get(error.kind, "a value has a type or a form that it cannot work with")


_REASONS: Final = {
    "UnknownTest": "there is no such test",
    "UnknownFilter": "there is no such filter",
    "OutOfFuel": "it takes too much work or makes too much text",
    "TemplateNotFound": "there are no other templates to include or import",
    "MissingArgument": "a filter or function got too few arguments",
    "TooManyArguments": "a filter or function got too many arguments",
}
