"""`keychain.<alias>.<field>` in the templates of a tool.

Credentials are looked up here, where the tool runs, and only those that a template reads. They are no
part of the scope that comes with the command, so neither events nor python's `context` hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from portcall.errors import ToolError
from portcall.tool.port import Services


class Keychain(Mapping[str, Mapping[str, Any]]):
    """Credentials by alias. An alias that is not known is `failure`: a template must not go on without it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._found: dict[str, Mapping[str, Any]] = {}
        self.failure: ToolError | None = None

    def __getitem__(self, alias: str) -> Mapping[str, Any]:
        if alias not in self._found:
            from portcall.tool.credential import named  # few playbooks have secrets

            try:
                self._found[alias] = named(alias, self._services)
            except ToolError as error:
                self.failure = self.failure or error
                raise KeyError(alias) from error
        return self._found[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
