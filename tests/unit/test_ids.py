"""Identifiers: the standard's form, no two the same, names that Kubernetes takes."""

from __future__ import annotations

import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from portcall import ids

CALL = ids.call_id("1", "a", 1, None, 0, 1, 1)


@given(st.text(max_size=50))
def test_an_event_id_is_uuid5_of_call_and_kind(kind: str) -> None:
    assert ids.event_id(CALL, kind) == str(uuid.uuid5(uuid.UUID(CALL), kind))


def test_each_part_of_a_call_makes_another_id() -> None:
    base = ("1", "a", 1, None, 0, 1, 1)
    others = [("2", "b", 2, 0, 1, 2, 2)[i] for i in range(7)]
    made = {ids.call_id(*base)} | {ids.call_id(*(*base[:i], others[i], *base[i + 1 :])) for i in range(7)}
    assert len(made) == 8


def test_execution_ids_grow_and_fit_64_bits() -> None:
    made = [int(ids.new_execution_id()) for _ in range(10_000)]
    assert made == sorted(set(made))
    assert made[-1] < 2**63


@given(st.text(max_size=100), st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True))
def test_a_job_name_is_a_label(step: str, prefix: str) -> None:
    name = ids.job_name(prefix, step, CALL)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert name == ids.job_name(prefix, step, CALL)
