"""Which tool kinds there are: the built-in ones, and those of installed packages.

A built-in kind is imported when it is first asked for; the entry points of other packages
(group `portcall.tools`) are read only when a kind is not built in, since both cost start-up time.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping

from portcall.errors import NotFoundError, UsageError
from portcall.tool.port import ToolKind

GROUP = "portcall.tools"
_BUILT_IN = {
    "noop": "Noop",
    "python": "Python",
    "shell": "Shell",
    "http": "Http",
    "container": "Container",
    "wait": "Wait",
}
"""The module of this package and its class."""


class _Kinds(Mapping[str, ToolKind]):
    def __init__(self) -> None:
        self._loaded: dict[str, ToolKind] = {}

    def __getitem__(self, kind: str) -> ToolKind:
        found = self._loaded.get(kind)
        if found is None:
            found = self._loaded[kind] = _built_in(kind) if kind in _BUILT_IN else _third_party(kind)
        return found

    def __contains__(self, kind: object) -> bool:
        return kind in _BUILT_IN or kind in _installed()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*_BUILT_IN, *_installed())))

    def __len__(self) -> int:
        return len({*_BUILT_IN, *_installed()})


def _built_in(kind: str) -> ToolKind:
    module = importlib.import_module(f"portcall.tool.{kind}")
    tool: ToolKind = getattr(module, _BUILT_IN[kind])()
    return tool


@functools.cache
def _installed() -> Mapping[str, str]:
    """Kind to `module:Class`, of packages other than this one."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=GROUP) if point.name not in _BUILT_IN}


def _third_party(kind: str) -> ToolKind:
    """Raises `KeyError` as mappings do, and `UsageError` for a kind that cannot be loaded."""
    module, _, name = _installed()[kind].partition(":")
    try:
        tool: ToolKind = getattr(importlib.import_module(module), name)()
    except Exception as error:
        raise UsageError(
            f"The tool kind {kind} of the installed package {module.partition('.')[0]} cannot be loaded "
            f"({type(error).__name__}: {error}); update or remove the package."
        ) from error
    return tool


_kinds = _Kinds()


def kinds() -> Mapping[str, ToolKind]:
    """Every kind by its name, each loaded when it is looked up."""
    return _kinds


def get(kind: str) -> ToolKind:
    """The kind of this name. Raises `NotFoundError`, which names those that there are."""
    try:
        return _kinds[kind]
    except KeyError:
        raise NotFoundError(
            f"There is no tool kind {kind}; there are {', '.join(sorted(_kinds))}. "
            "Install the package that brings it."
        ) from None
