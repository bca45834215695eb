from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from portcall.tool.port import Parked
from portcall.tool.wait import Wait, WaitConfig

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Fixed:
    def now(self) -> datetime:
        return NOW


@pytest.mark.parametrize(
    ("config", "after"),
    [
        ({"seconds": 90}, 90),
        ({"seconds": "1m30s"}, 90),
        ({"seconds": 0}, 0),
        ({"until": "2026-03-01T08:01:30Z"}, 90),
        ({"until": "2026-03-01T09:01:30+01:00"}, 90),
        ({"until": "2020-01-01T00:00:00Z"}, 0),
    ],
)
def test_it_parks_until_the_time(bench: Any, config: dict[str, Any], after: int) -> None:
    parked = bench.run(Wait(Fixed()), config)
    assert isinstance(parked, Parked)
    assert parked.resume_at == NOW + timedelta(seconds=after)
    assert (parked.handle.runtime, parked.handle.name) == ("timer", "0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"seconds": 1, "until": "2026-03-01T08:00:00Z"},
        {"seconds": -1},
        {"seconds": "soon"},
        {"seconds": 1e300},
        {"until": "2026-03-01T08:00:00"},
    ],
)
def test_wrong_fields_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WaitConfig.model_validate(config)
