"""A template, read once: what kind it is, what it reads, whether it is sound."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

from portcall.errors import ExpressionError
from portcall.expression import engine, guard, reads
from portcall.expression.engine import TemplateProblem
from portcall.expression.lexer import Tag, tags

_MARK: Final = re.compile(r"\{[{%#]")
_PATH: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class Template:
    """`whole`: one expression and nothing else. `path`: such an expression that is only a dotted name.

    `safe` and `expression` are what the engine is given: the template, and the expression in it.
    """

    source: str
    form: Literal["text", "mixed", "whole"]
    expression: str = ""
    safe: str = ""
    path: tuple[str, ...] = ()
    identifiers: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()
    """The first names that are read by their fields."""
    problem: TemplateProblem | None = None

    @property
    def shown(self) -> str:
        """The template as a message may quote it: on one line, and short."""
        text = " ".join(self.source.split())
        return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

    def sound(self) -> Template:
        """The template itself. ExpressionError when its syntax is wrong."""
        if self.problem is not None:
            raise ExpressionError(f"{self.shown} is not a valid expression: {self.problem.message}")
        return self


def is_template(text: str) -> bool:
    """Whether the text holds `{{`, `{%` or `{#`."""
    return _MARK.search(text) is not None


def is_whole_expression(text: str) -> bool:
    """Whether the text is exactly one `{{ expression }}`, white space around it aside."""
    return is_template(text) and parse(text).form == "whole"


def check(template: str) -> TemplateProblem | None:
    """What is wrong with the syntax of a template, before anything is evaluated; None when it is sound."""
    return parse(template).problem


@lru_cache(maxsize=4096)
def parse(source: str) -> Template:
    """The template that a text is. Never fails: what is wrong is told by `problem`."""
    if not is_template(source):
        return Template(source, "text")
    found = tags(source)
    body = _whole(source, found)
    problem = _problem(source, found, body)
    form: Literal["mixed", "whole"] = "mixed" if body is None else "whole"
    if problem is not None:
        return Template(source, form, expression=body or "", problem=problem)
    safe = guard.numbers_only(source, found)
    names = reads.names(source, found)
    is_path = body is not None and _PATH.fullmatch(body) and body.split(".")[0] not in reads.KEYWORDS
    return Template(
        source,
        form,
        expression=(_whole(safe, tags(safe)) or "") if body is not None else "",
        safe=safe,
        path=tuple(body.split(".")) if body is not None and is_path else (),
        identifiers=reads.identifiers(found),
        names=names,
        inside=frozenset(name.partition(".")[0] for name in names if "." in name),
    )


def _whole(source: str, found: list[Tag]) -> str | None:
    only = found[0] if len(found) == 1 else None
    if only is None or only.kind != "expression" or not source.endswith("}}", 0, only.end):
        return None
    outside = source[: only.start] + source[only.end :]
    return None if outside.strip() else only.body.strip()


def _problem(source: str, found: list[Tag], body: str | None) -> TemplateProblem | None:
    if why := guard.refusal(source, found):
        return TemplateProblem(why)
    if body == "":
        return TemplateProblem("the expression is empty")
    return engine.problem(source) or _unknown_filter(found)


def _unknown_filter(found: list[Tag]) -> TemplateProblem | None:
    for tag in found:
        for bar, token in pairwise(tag.tokens):
            if bar.text == "|" and token.kind == "name" and not engine.has_filter(token.text):
                return TemplateProblem(f"there is no filter {token.text}")
    return None
