"""Facts in, an outcome out: the truth table, without a process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.model.outcome import Handle, Outcome
from portcall.runtime.port import JobSpec
from portcall.runtime.process.facts import Exit, Failure, Job, Record, Start
from portcall.runtime.process.judge import Printed, judge, size

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HANDLE = Handle(runtime="process", name="job")


def outcome_of(printed: Printed | None = None, spec: dict[str, Any] | None = None, **end: Any) -> Outcome:
    named = {"name": "job", "execution_id": "1", "step": "s", "call_id": "c", "command": ["train"]}
    job = Job(cluster="process:1", created=1.0, spec=JobSpec(**(named | (spec or {}))))
    start = Start(supervisor="b:1:1", at=1.5, container="b:2:2", started=2.0)
    record = Record(job=job, start=start, exit=Exit(finished=3.0, **end))
    return judge(record, printed or Printed(), HANDLE, "node", NOW)


LIMITED = {"memory_limit": 64 << 20}


@pytest.mark.parametrize(
    ("end", "spec", "state"),
    [
        ({"code": 0}, {}, "succeeded"),
        ({"code": 1}, {}, "failed"),
        ({"signal": 9}, {}, "failed"),
        ({"signal": 9, "oom_kills": 1, "enforced": ["memory"]}, LIMITED, "failed_oom"),
        ({"code": 137, "oom_kills": 1, "enforced": ["memory"]}, LIMITED, "failed_oom"),
        ({"code": 1, "oom_kills": 1, "enforced": ["memory"]}, LIMITED, "failed_oom"),
        ({"code": 143, "oom_kills": 1, "enforced": ["memory"]}, LIMITED, "failed"),
        ({"signal": 15, "oom_kills": 1, "enforced": ["memory"]}, LIMITED, "failed"),
        ({"code": 0, "oom_kills": 1, "enforced": ["memory"]}, LIMITED, "succeeded"),
        ({"signal": 9, "ended_by": "memory"}, LIMITED, "failed_oom"),
        ({"signal": 9, "ended_by": "timeout"}, {"timeout_seconds": 5}, "failed_timeout"),
        ({"code": 0, "ended_by": "timeout"}, {"timeout_seconds": 5}, "failed_timeout"),
        ({"signal": 15, "ended_by": "cancel"}, {}, "cancelled"),
        ({"code": 0, "ended_by": "deadline"}, {}, "failed_timeout"),
        ({"signal": 15, "ended_by": "deleted"}, {}, "failed_deleted"),
        ({"started": False, "ended_by": "cancel"}, {}, "cancelled"),
        ({"started": False, "error": Failure(what="command", errno=2)}, {}, "failed_config"),
        ({"started": False, "error": Failure(what="empty")}, {}, "failed_config"),
        ({"lost": "supervisor"}, {}, "lost"),
        ({"lost": "reboot"}, {}, "lost"),
    ],
)
def test_states(end: dict[str, Any], spec: dict[str, Any], state: str) -> None:
    found = outcome_of(spec=spec, **end)
    assert found.state == state
    assert bool(found.message) == (state != "succeeded")
    assert found.started == end.get("started", True)


def test_a_child_killed_for_memory_is_said() -> None:
    (warning,) = outcome_of(spec=LIMITED, code=0, oom_kills=1, enforced=["memory"]).warnings
    assert "64Mi" in warning


def test_a_kill_that_sampling_cannot_explain_is_partly_known() -> None:
    assert outcome_of(spec=LIMITED, signal=9).evidence.level == "partial"
    assert outcome_of(spec=LIMITED, signal=9, enforced=["memory"]).evidence.level == "full"
    assert outcome_of(signal=9).evidence.level == "full"


def test_limits_that_were_not_kept_are_said() -> None:
    assert any("CPU" in text for text in outcome_of(spec={"cpu_limit": 1.0}, code=0).warnings)
    assert not outcome_of(spec={"cpu_limit": 1.0}, code=0, enforced=["cpu"]).warnings
    assert any("7 bytes" in text for text in outcome_of(code=0, output_lost=7).warnings)


@given(st.binary(max_size=5000), st.binary(max_size=5000), st.sampled_from(["message", "stdout", "none"]))
def test_whatever_a_container_prints_has_an_outcome(message: bytes, output: bytes, result: str) -> None:
    found = outcome_of(Printed(message=message, output=output), {"result": result}, code=0)
    assert found.state in ("succeeded", "failed_result")
    assert len(found.log_tail or "") <= 4096


@given(st.integers(0, 255), st.sampled_from(["", "cancel", "deadline", "timeout", "deleted"]))
def test_only_a_zero_that_nobody_asked_for_succeeds(code: int, ended_by: Any) -> None:
    found = outcome_of(spec={"timeout_seconds": 1}, code=code, ended_by=ended_by)
    assert (found.state == "succeeded") == (code == 0 and ended_by == "")


@pytest.mark.parametrize(
    ("count", "text"), [(64 << 20, "64Mi"), (1 << 30, "1Gi"), (1536, "1536"), (2048, "2Ki")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
