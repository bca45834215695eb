"""The tool that does nothing: a place to route from, or a value to compute by expression."""

from __future__ import annotations

from typing import Any, ClassVar

from portcall.tool.config import Text, ToolConfig
from portcall.tool.port import Call, Done, Result, Services


class NoopConfig(ToolConfig):
    message: Text | None = None
    """A line for the step's log."""
    result: Any = None
    """The step's data."""


class Noop:
    kind: ClassVar[str] = "noop"
    Config: ClassVar[type[NoopConfig]] = NoopConfig
    raw: ClassVar[frozenset[str]] = frozenset()

    async def start(self, call: Call, services: Services) -> Result:
        config = NoopConfig.model_validate(call.config)
        if config.message:
            services.log(f"{config.message}\n")
        return Done(data=config.result)
