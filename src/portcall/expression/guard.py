"""What is refused before the engine sees it, because the engine would crash or eat the memory.

minijinja recurses over long chains of operators and of `elif`, and does not count the width of a format or of
an indent, nor containers that hold one another many times over, in its fuel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from portcall.expression.lexer import Tag, Token
from portcall.expression.reads import KEYWORDS, declared

TEMPLATE_LIMIT: Final = 1024 * 1024
"""Characters of one template."""
TOKEN_LIMIT: Final = 4000
"""Tokens of one tag; the engine's stack takes some 8,000."""
STATEMENT_LIMIT: Final = 500
"""Statements of one template; the engine's stack takes some 2,000 `elif`."""
INDENT_LIMIT: Final = 16

_PLAIN_FORMAT: Final = re.compile(r"""['"](?!.*\d{4})(?:[^{}\\]|\{\{|\}\}|\{[^{}\\]*\})*['"]""", re.DOTALL)
_SHARING: Final = frozenset({"map", "zip", "chain", "dict", "namespace", "batch", "slice"})
_REPEATING: Final = frozenset({"map", "batch", "slice"})
_STORING: Final = frozenset({"set", "with", "for", "macro", "call"})


def refusal(source: str, tags: Sequence[Tag]) -> str | None:
    """Why the template is refused, or None."""
    if len(source) > TEMPLATE_LIMIT:
        return f"it is longer than {TEMPLATE_LIMIT // 1024} KiB"
    if sum(tag.kind == "statement" for tag in tags) > STATEMENT_LIMIT:
        return f"it has more than {STATEMENT_LIMIT} statements"
    local = declared(tags)
    has_macro = any(tag.tokens and tag.tokens[0].text == "macro" for tag in tags)
    for tag in tags:
        if len(tag.tokens) > TOKEN_LIMIT:
            return f"one of its expressions has more than {TOKEN_LIMIT} parts"
        if why := _costly(tag.tokens):
            return why
        stores = tag.kind == "statement" and bool(tag.tokens) and tag.tokens[0].text in _STORING
        if (stores or has_macro) and (name := _shared(tag.tokens, local)):
            return f"{name} is set in the template and put into another container; build that in a python step"
    return None


def _costly(tokens: Sequence[Token]) -> str | None:
    for index, token in enumerate(tokens):
        after = [each.text for each in tokens[index + 1 : index + 6]]
        if token.kind == "string" and token.text[1:-1] == "tojson" and after[:1] == [","]:
            return "tojson takes no options inside of map"
        if token.kind != "name" or after[:1] != ["("]:
            continue
        before = tokens[index - 1].text if index else ""
        if token.text == "tojson" and not _small_indent(after):
            return f"tojson takes an indent of at most {INDENT_LIMIT}, written as a number"
        if token.text == "map" and before == "|" and not _constant_filter(tokens[index + 2 : index + 3]):
            return "map takes the name of its filter in quotes"
        if token.text in _REPEATING and before == "|" and _repeats(tokens[index + 1 :]):
            return f"{token.text} takes only constants for what it fills in"
        if token.text == "format" and before == "." and not _plain_format(tokens[:index]):
            return ".format works on one plain piece of text in quotes, with widths below 1000; or use ~"
    return None


def numbers_only(source: str, tags: Sequence[Tag]) -> str:
    """The template with `a * b` written as `- - (a) * - - (b)`: no list is repeated, only text in quotes.

    A repeated list is no work for the engine until it is written out, and then too much. The template must be
    one that the engine can parse.
    """
    inserts: list[tuple[int, str]] = []
    for tag in tags:
        for index, token in enumerate(tag.tokens):
            if token.text != "*" or token.kind != "operator":
                continue
            for first, last in (
                (_factor_start(tag.tokens, index - 1), index - 1),
                _factor(tag.tokens, index + 1),
            ):
                if first < last or tag.tokens[first].kind != "string":
                    inserts += [(tag.tokens[first].start, "- - ("), (tag.tokens[last].end, ")")]
    for place, text in sorted(inserts, reverse=True):
        source = f"{source[:place]}{text}{source[place:]}"
    return source


def _factor_start(tokens: Sequence[Token], index: int) -> int:
    """Where the operand that ends at `index` begins: a value with its subscripts, calls, filters and powers."""
    while index > 0:
        if tokens[index].kind == "operator" and tokens[index].text in ")]}":
            index = _partner(tokens, index, -1)
            if index > 0 and _ends_value(tokens[index - 1]):
                index -= 1
                continue
        if index < 2 or tokens[index - 1].text not in {".", "|", "**"}:  # noqa: PLR2004 - an operand and a mark
            break
        index -= 2
    return max(index, 0)


def _factor(tokens: Sequence[Token], index: int) -> tuple[int, int]:
    """The first and last token of the operand that begins at `index`, its signs included."""
    first = index
    while tokens[index].text in {"-", "+"}:
        index += 1
    while True:
        if tokens[index].kind == "operator" and tokens[index].text in "([{":
            index = _partner(tokens, index, 1)
        following = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if following in {"(", "["}:
            index += 1
        elif following in {".", "|", "**"}:
            index += 2
            while tokens[index].text == "-":
                index += 1
        else:
            return first, index


def _partner(tokens: Sequence[Token], index: int, step: int) -> int:
    """The bracket that belongs to the one at `index`, looking forward (1) or back (-1)."""
    depth = 0
    while True:
        if tokens[index].kind == "operator":
            depth += (tokens[index].text in "([{") - (tokens[index].text in ")]}")
        if depth == 0:
            return index
        index += step


def _repeats(arguments: Sequence[Token]) -> bool:
    """Whether a name stands where `map`, `batch` or `slice` would put its value many times into the result."""
    if len(arguments) > 1 and arguments[1].kind == "string" and arguments[1].text[1:-1] not in {"default", "d"}:
        return False  # map with a filter that makes something new of each element
    depth, later = 0, False
    for token in arguments:
        if token.kind == "operator":
            depth += (token.text in "([{") - (token.text in ")]}")
        if depth == 0:
            break
        later = later or token.text in {",", "fill_with"}
        if (
            later
            and token.kind == "name"
            and token.text not in KEYWORDS | {"default", "attribute", "fill_with"}
        ):
            return True
    return False


def _small_indent(after: Sequence[str]) -> bool:
    inner = after[1:]
    if inner[:2] == ["indent", "="]:
        inner = inner[2:]
    if inner[:1] == [")"]:
        return True
    number, closing = ["", *inner][1:2] or [""], inner[1:2]
    if closing != [")"]:
        return False
    return number[0] in {"true", "false", "none"} or (
        number[0].isdecimal() and int(number[0][:4]) <= INDENT_LIMIT
    )


def _constant_filter(argument: Sequence[Token]) -> bool:
    return bool(argument) and (argument[0].kind == "string" or argument[0].text == "attribute")


def _plain_format(before: Sequence[Token]) -> bool:
    # [..., text, "."]; two pieces side by side would be one text to the engine.
    text, others = before[-2:-1], before[:-2]
    if not text or text[0].kind != "string" or (others and others[-1].kind == "string"):
        return False
    return bool(_PLAIN_FORMAT.fullmatch(text[0].text))


def _shared(tokens: Sequence[Token], local: frozenset[str]) -> str | None:
    """A name of the template's own inside of a list, a map, or a call that puts its arguments into one."""
    inside: list[bool] = []
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        if token.kind == "operator" and token.text in "([{":
            inside.append(any(inside) or _builds(token.text, before))
        elif token.kind == "operator" and token.text in ")]}" and inside:
            inside.pop()
        elif (
            token.text in local and token.kind == "name" and any(inside) and (not before or before.text != ".")
        ):
            return token.text
    return None


def _ends_value(token: Token) -> bool:
    if token.kind == "name":
        return token.text not in KEYWORDS
    return token.kind != "operator" or token.text in {")", "]", "}"}


def _builds(opening: str, before: Token | None) -> bool:
    follows_value = before is not None and _ends_value(before)
    if opening == "[":
        return not follows_value
    if opening == "(":
        return before is not None and before.text in _SHARING
    return True
