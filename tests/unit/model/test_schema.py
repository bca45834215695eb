from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import jsonschema_rs
import msgspec

from portcall.model.event import Event, ExecutionStarted, encode
from portcall.model.outcome import Evidence, outcome
from portcall.model.schema import event_schema, outcome_schema


def fits(schema: dict[str, Any], data: Any) -> bool:
    return bool(jsonschema_rs.validator_for(schema).is_valid(data))


def test_an_event_fits_its_schema_and_another_thing_does_not() -> None:
    event = ExecutionStarted(
        execution_id="1", at=datetime(2026, 1, 1, tzinfo=UTC), seq=1, playbook="d", path="p", workload={}
    )
    data = msgspec.json.decode(encode(event))
    assert fits(event_schema(), data)
    assert not fits(event_schema(), data | {"type": "execution.imagined"})
    assert not fits(event_schema(), {key: value for key, value in data.items() if key != "path"})


def test_every_kind_of_event_is_in_the_schema() -> None:
    text = msgspec.json.encode(event_schema()).decode()
    for kind in get_args(Event):
        assert f'"{kind.__struct_config__.tag}"' in text


def test_an_outcome_fits_its_schema() -> None:
    data = msgspec.to_builtins(outcome("failed_oom", evidence=Evidence(level="full")))
    assert fits(outcome_schema(), data)
    assert not fits(outcome_schema(), data | {"state": "fine"})
    assert not fits(outcome_schema(), data | {"version": 2})
