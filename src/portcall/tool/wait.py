"""Waiting for a time: parked, so that a wait of a month costs a row."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Self

from pydantic import AwareDatetime, model_validator

from portcall.clock import Clock, SystemClock
from portcall.model.outcome import Handle
from portcall.tool.config import Duration, ToolConfig
from portcall.tool.port import Call, Parked, Result, Services

_TEN_YEARS = 10 * 366 * 86_400


class WaitConfig(ToolConfig):
    seconds: Duration | None = None
    """How long to wait: seconds, or a duration such as 10m."""
    until: AwareDatetime | None = None
    """When to go on: RFC 3339 with an offset, such as 2026-03-01T08:00:00Z. A past time goes on at once."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.seconds is None) == (self.until is None):
            raise ValueError("Give one of seconds or until")
        if (self.seconds or 0) > _TEN_YEARS:
            raise ValueError("Give at most ten years")
        return self


class Wait:
    kind: ClassVar[str] = "wait"
    Config: ClassVar[type[WaitConfig]] = WaitConfig
    raw: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    async def start(self, call: Call, services: Services) -> Result:  # noqa: ARG002 - the protocol of every kind
        config = WaitConfig.model_validate(call.config)
        now = self._clock.now()
        at = config.until if config.seconds is None else now + timedelta(seconds=config.seconds)
        return Parked(handle=Handle(runtime="timer", name=call.call_id), resume_at=max(at or now, now))
