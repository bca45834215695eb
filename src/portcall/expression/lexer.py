"""Where the tags of a template stand, and the tokens in them.

The engine tells names and syntax, but not where one expression ends, nor what is costly before it runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["expression", "statement", "comment"]
TokenKind = Literal["name", "string", "number", "operator"]

_OPEN: Final = re.compile(r"\{[{%#]")
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
      | (?P<number>\d[\w]*(?:\.\d+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<operator>==|!=|<=|>=|//|\*\*|\S)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ENDRAW: Final = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_CLOSE: Final = {
    "expression": re.compile(r"\s*[-+]?\}\}"),
    "statement": re.compile(r"\s*[-+]?%\}"),
}
_KINDS: Final[dict[str, Kind]] = {"{{": "expression", "{%": "statement", "{#": "comment"}


@dataclass(frozen=True, slots=True)
class Token:
    """`start`: its place in the template."""

    kind: TokenKind
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag: its place in the template, what stands between its marks, and the tokens of that."""

    kind: Kind
    start: int
    end: int
    body: str
    tokens: tuple[Token, ...] = ()


def tags(source: str) -> list[Tag]:
    """The tags of a template in order; what is inside `raw` is text. A tag without end reaches to the end."""
    found: list[Tag] = []
    position = 0
    while opening := _OPEN.search(source, position):
        tag = _tag(source, opening.start(), _KINDS[opening[0]])
        position = tag.end
        found.append(tag)
        if tag.kind == "statement" and [token.text for token in tag.tokens] == ["raw"]:
            closing = _ENDRAW.search(source, position)
            position = closing.end() if closing else len(source)
    return found


def _tag(source: str, start: int, kind: Kind) -> Tag:
    position = start + 2
    if kind == "comment":
        end = source.find("#}", position)
        return Tag(kind, start, len(source) if end < 0 else end + 2, "")
    if source[position : position + 1] in {"-", "+"}:
        position += 1
    begin, depth = position, 0
    tokens: list[Token] = []
    while position < len(source):
        if depth == 0 and (closing := _CLOSE[kind].match(source, position)):
            return Tag(kind, start, closing.end(), source[begin:position], tuple(tokens))
        match = _TOKEN.match(source, position)
        if match is None:
            break
        group: TokenKind = match.lastgroup  # type: ignore[assignment] # one of the pattern's four names
        tokens.append(Token(group, match[group], match.start(group)))
        if group == "operator":
            depth += (match[group] in "([{") - (match[group] in ")]}")
        position = match.end()
    return Tag(kind, start, len(source), source[begin:], tuple(tokens))
