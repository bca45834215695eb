"""One call of one tool kind, the way a worker makes it."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from portcall.runtime.port import Runtime
from portcall.tool import registry
from portcall.tool.port import Call, Result, Services, ToolKind

CALL_ID = "0123456789abcdef0123456789abcdef"


@dataclass
class Bench:
    """Makes calls; `log` is what they logged."""

    workdir: Path
    log: list[str] = field(default_factory=list)
    credentials: dict[str, dict[str, Any]] = field(default_factory=dict)
    runtime: Runtime | None = None
    mine: bool = True
    stopping: bool = False

    def services(self) -> Services:
        async def still_mine() -> bool:
            return self.mine

        cancelled = asyncio.Event()
        if self.stopping:
            cancelled.set()
        return Services(
            log=self.log.append,
            cancelled=cancelled,
            still_mine=still_mine,
            runtime=self.runtime,
            credential=self.credentials.__getitem__,
            workdir=str(self.workdir),
        )

    def call(
        self,
        kind: ToolKind,
        config: Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
        scope: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Call:
        return Call(
            call_id=CALL_ID,
            execution_id="7",
            step="train model",
            run=1,
            iteration=None,
            position=0,
            entry=1,
            attempt=2,
            kind=kind.kind,
            playbook="demo/train",
            config=kind.Config.model_validate(config),
            input=inputs or {},
            scope=scope or {},
            **more,
        )

    async def start(self, kind: str | ToolKind, config: Mapping[str, Any], **more: Any) -> Result:
        tool = registry.get(kind) if isinstance(kind, str) else kind
        return await tool.start(self.call(tool, config, **more), self.services())

    def run(self, kind: str | ToolKind, config: Mapping[str, Any], **more: Any) -> Any:
        """The result of one call; its data when it is done."""
        result = asyncio.run(self.start(kind, config, **more))
        return getattr(result, "data", result)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def python(bench: Bench) -> Callable[..., Any]:
    """Run python code with these inputs; its data."""

    def run(code: str, /, *, config: Mapping[str, Any] | None = None, **inputs: Any) -> Any:
        return bench.run("python", {"code": code, **(config or {})}, inputs=inputs)

    return run


def _gone(pid: int) -> None:
    """Wait for the end of a process that was killed; a zombie of its new parent has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], 10)
        assert ready, f"process {pid} still runs"
    finally:
        os.close(descriptor)


@pytest.fixture
def gone() -> Callable[[int], None]:
    return _gone
