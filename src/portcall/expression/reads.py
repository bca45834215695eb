"""Which names a template reads.

The engine's own analysis knows scopes, but leaves out what stands before a slice and in the arguments of
a `filter` block. A pass over the tokens finds every name that could be read; together they miss none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from portcall.expression import engine
from portcall.expression.lexer import Tag, Token

_KEY: Final = re.compile(r"[^.\\]+")
KEYWORDS: Final = frozenset({
    "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None",
})  # fmt: skip
_STATEMENTS: Final = frozenset({
    "for", "endfor", "elif", "endif", "set", "endset", "macro", "endmacro", "call", "endcall", "filter",
    "endfilter", "with", "endwith", "block", "endblock", "include", "import", "from", "as", "extends", "do",
    "raw", "endraw", "recursive", "autoescape", "endautoescape", "ignore", "missing", "break", "continue",
})  # fmt: skip
_GIVEN: Final = frozenset({"loop", "caller", "super", "self"})
"""Set by the engine in templates that have loops, macros or blocks."""


def identifiers(tags: Sequence[Tag]) -> frozenset[str]:
    """Every first name that the template could read: never too few."""
    return frozenset(path[0] for tag in tags for path, _ in _paths(tag.tokens)) - KEYWORDS


def names(source: str, tags: Sequence[Tag]) -> frozenset[str]:
    """The dotted names that the template reads from outside; a method call reads what it is called on."""
    exact = engine.undeclared(source)
    local = declared(tags)
    local |= _GIVEN if local else set()
    found, called = set[str](), set[str]()
    for tag in tags:
        for path, is_call in _paths(tag.tokens):
            if is_call:
                called.add(".".join(path))
                path = path[:-1]  # noqa: PLW2901 - what is called is no data
            skipped = not path or path[0] in local | KEYWORDS
            if not skipped and not (tag.kind == "statement" and path[0] in _STATEMENTS):
                found.add(".".join(path))
    covered = {each.split(".")[0] for each in exact - called}
    return frozenset(
        (exact - called) | {each for each in found if each not in exact and _needed(each, covered)}
    )


def _needed(name: str, covered: set[str]) -> bool:
    return "." in name or name not in covered


def declared(tags: Sequence[Tag]) -> frozenset[str]:
    """The names that the template itself sets: by for, set, with, macro, call, import."""
    return frozenset(name for tag in tags if tag.kind == "statement" for name in _declared(tag.tokens))


def _declared(tokens: Sequence[Token]) -> Iterator[str]:
    word = tokens[0].text if tokens else ""
    if word not in {"for", "set", "with", "macro", "call", "import", "from"}:
        return
    for token, after in pairwise(tokens[1:]):
        if word in {"for", "set"} and token.text in {"in", "="}:
            return
        if token.kind == "name" and after.text != "." and (word != "with" or after.text == "="):
            yield token.text
    if word in {"set", "import", "from"} and tokens[-1].kind == "name":
        yield tokens[-1].text


def _paths(tokens: Sequence[Token]) -> Iterator[tuple[list[str], bool]]:
    """Each dotted path in an expression, and whether it is called; not filters, tests and argument names."""
    index, depth = 0, 0
    while index < len(tokens):
        token, before = tokens[index], tokens[index - 1].text if index else ""
        if token.kind == "operator":
            depth += (token.text in "([{") - (token.text in ")]}")
        index += 1
        if token.kind != "name" or before in {".", "|"} or _is_test(tokens, index - 1):
            continue
        path = [token.text]
        while key := _key(tokens, index):
            path.append(key[0])
            index += key[1]
        following = _text(tokens, index)
        if following == "=" and depth:
            continue  # the name of an argument
        yield path, following == "("


def _key(tokens: Sequence[Token], index: int) -> tuple[str, int] | None:
    """The key read here, by `.name` or by `['name']`, and how many tokens that takes."""
    first, inner, last = (tokens[i] if i < len(tokens) else None for i in range(index, index + 3))
    if first is None or inner is None:
        return None
    if first.text == "." and inner.kind == "name":
        return inner.text, 2
    if first.text == "[" and inner.kind == "string" and last is not None and last.text == "]":
        key = inner.text[1:-1]
        return (key, 3) if _KEY.fullmatch(key) else None
    return None


def _is_test(tokens: Sequence[Token], index: int) -> bool:
    before = [token.text for token in tokens[max(0, index - 2) : index]]
    return before[-1:] == ["is"] or before == ["is", "not"]


def _text(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].text if index < len(tokens) else ""
