"""What is wrong with a playbook, and how it is shown: place, source line, caret, "did you mean"."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from portcall.errors import UsageError

Severity = Literal["error", "warning", "note"]
_WIDTH = 140
_RED, _YELLOW, _CYAN, _BOLD, _OFF = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"
_COLORS: dict[Severity, str] = {"error": _RED, "warning": _YELLOW, "note": _CYAN}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `line` and `column` count from 1; `path` is such as `workflow[2].tool.image`."""

    severity: Severity
    message: str
    path: str = ""
    file: str = ""
    line: int = 1
    column: int = 1
    found: str = ""
    expected: str = ""
    hint: str = ""
    length: int = 1
    """How many characters the caret underlines."""

    def __str__(self) -> str:
        """One line, without the source."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file or 'playbook'}:{self.line}:{self.column}: {self.severity}: {self.message}{hint}"


class PlaybookError(UsageError):
    """The playbook is wrong. `problems` holds everything that was found, in the order of the text."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        errors = [problem for problem in problems if problem.severity == "error"]
        if not errors:
            super().__init__("The playbook is wrong.")
            return
        first = errors[0]
        count = "a problem" if len(errors) == 1 else f"{len(errors)} problems; the first"
        place = f"in line {first.line}, column {first.column}"
        hint = f" ({first.hint})" if first.hint else ""
        super().__init__(f"{first.file or 'The playbook'} has {count} {place}: {first.message}{hint}")


def show(problems: Iterable[Problem], text: str, color: bool = False) -> str:  # noqa: FBT001, FBT002 - the callers' form
    """Every problem with its source line and a caret under the spot."""
    lines = text.splitlines()
    return "\n".join(_shown(problem, lines, color=color) for problem in problems)


def as_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """The problems as JSON data, one object each."""
    return [asdict(problem) for problem in problems]


def quoted(value: object, limit: int = 60) -> str:
    """A value of the playbook in a message: cut, and without control characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "`" + printable(text) + "`"


def printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A hint, or nothing when no word is near."""
    options = list(words)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if not near:
        folded = {option.casefold().replace("-", "_"): option for option in options}
        same = folded.get(word.casefold().replace("-", "_"))
        near = [same] if same else []
    return f"did you mean {quoted(near[0])}?" if near else ""


def _shown(problem: Problem, lines: list[str], *, color: bool) -> str:
    place = f"{problem.file or 'playbook'}:{problem.line}:{problem.column}:"
    tone = _COLORS[problem.severity]
    head = f"{place} {problem.severity}: {problem.message}"
    if color:
        head = f"{_BOLD}{place}{_OFF} {tone}{problem.severity}:{_OFF} {_BOLD}{problem.message}{_OFF}"
    shown = [head]
    if problem.line <= len(lines):
        shown += _excerpt(problem, lines[problem.line - 1], tone if color else "")
    if problem.hint:
        shown.append(f"{'':7}= {problem.hint}")
    return "\n".join(shown) + "\n"


def _excerpt(problem: Problem, source: str, tone: str) -> list[str]:
    column = min(problem.column - 1, len(source))
    cut = max(0, column - _WIDTH // 2) if len(source) > _WIDTH else 0
    before, rest = source[cut:column], source[column : cut + _WIDTH]
    spot = max(1, min(problem.length, len(rest)))
    pad = "".join(char if char == "\t" else " " * _cells(char) for char in before)
    carets = "^" * max(1, sum(map(_cells, rest[:spot])))
    lead = "..." if cut else ""
    mark = f"{tone}{carets}{_OFF}" if tone else carets
    text = printable((before + rest).replace("\t", "\0")).replace("\\x00", "\t")
    return [f"{problem.line:>6} | {lead}{text}", f"{'':6} | {' ' * len(lead)}{pad}{mark}"]


def _cells(char: str) -> int:
    """Terminal columns that a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
