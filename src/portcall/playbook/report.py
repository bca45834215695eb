"""Collects what is wrong while a playbook is read, so that everything can be told at once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from portcall.playbook.problems import Problem, Severity
from portcall.playbook.source import Node

_BARE = re.compile(r"[A-Za-z_][\w-]*")


@dataclass(slots=True)
class _Finding:
    severity: Severity
    message: str
    node: Node | None
    line: int
    column: int
    length: int
    key: str
    found: str
    expected: str
    hint: str


class Report:
    """Findings point at nodes; their paths in the document are worked out only when there are any."""

    def __init__(self, file: str = "", text: str = "") -> None:
        self._file = file
        self._text = text
        self._findings: list[_Finding] = []
        self.failed = False

    def line(self, number: int) -> str:
        """A line of the text, counted from 1."""
        lines = self._text.splitlines()
        return lines[number - 1] if number <= len(lines) else ""

    def error(  # noqa: PLR0913 - what an error tells
        self, node: Node, message: str, *, key: str = "", found: str = "", expected: str = "", hint: str = ""
    ) -> None:
        """`key` names a missing or odd key of `node`, for the path."""
        self._add("error", node, message, key, found, expected, hint)

    def warning(self, node: Node, message: str, *, key: str = "", hint: str = "") -> None:
        self._add("warning", node, message, key, hint=hint)

    def note(self, node: Node, message: str) -> None:
        self._add("note", node, message)

    def error_at(  # noqa: PLR0913 - a place is three numbers
        self, line: int, column: int, message: str, *, length: int = 1, hint: str = "", node: Node | None = None
    ) -> None:
        """An error at a place that is not the start of a node."""
        self.failed = True
        self._findings.append(_Finding("error", message, node, line, column, length, "", "", "", hint))

    def _add(  # noqa: PLR0913, PLR0917 - the parts of a finding
        self,
        severity: Severity,
        node: Node,
        message: str,
        key: str = "",
        found: str = "",
        expected: str = "",
        hint: str = "",
    ) -> None:
        self.failed = self.failed or severity == "error"
        self._findings.append(
            _Finding(severity, message, node, node.line, node.column, node.length, key, found, expected, hint)
        )

    def problems(self, root: Node | None) -> list[Problem]:
        """Everything found, once each, in the order of the text."""
        if not self._findings:
            return []
        paths = _paths(root) if root else {}
        unique: dict[tuple[int, int, str], Problem] = {}
        for finding in self._findings:
            problem = self._problem(finding, paths)
            unique.setdefault((problem.line, problem.column, problem.message), problem)
        return sorted(unique.values(), key=lambda problem: (problem.line, problem.column))

    def _problem(self, finding: _Finding, paths: dict[int, str]) -> Problem:
        node = finding.node
        if node is not None and node.origin is not None:
            node = node.origin
        path = paths.get(id(node), "") if node is not None else ""
        return Problem(
            severity=finding.severity,
            message=finding.message,
            path=_join(path, finding.key) if finding.key else path,
            file=self._file,
            line=finding.line,
            column=finding.column,
            found=finding.found,
            expected=finding.expected,
            hint=finding.hint,
            length=finding.length,
        )


def _join(path: str, key: str) -> str:
    if not _BARE.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


def _paths(root: Node) -> dict[int, str]:
    """The path of every node by its identity; a node with several has its first."""
    paths: dict[int, str] = {}
    stack = [(root, "")]
    while stack:
        node, path = stack.pop()
        if id(node) in paths:
            continue
        paths[id(node)] = path
        below = [(item, f"{path}[{index}]") for index, item in enumerate(node.items)]
        for name, (key, value) in node.keys.items():
            paths.setdefault(id(key), _join(path, name))
            below.append((value, _join(path, name)))
        stack.extend(reversed(below))
    return paths
