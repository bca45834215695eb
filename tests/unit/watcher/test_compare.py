"""What a comparison decides, as a table: pure data in, pure data out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portcall.model.api import OpenCall
from portcall.model.outcome import Evidence, Handle, outcome
from portcall.runtime.port import Observation
from portcall.testing.fast_loop import EPOCH
from portcall.watcher.compare import Suspect, compare, judge

NOW = EPOCH + timedelta(hours=1)


def call(name: str, **fields: Any) -> OpenCall:
    handle = Handle(runtime="fake", cluster="here", name=name, uid=f"uid-{name}")
    given_fields: dict[str, Any] = {"handle": handle, "parked_at": EPOCH} | fields
    return OpenCall(call_id=name, execution_id="1", step="s", **given_fields)


def job(name: str, *, ended: bool = False, uid: str = "") -> Observation:
    return Observation(
        handle=Handle(runtime="fake", cluster="here", name=name, uid=uid or f"uid-{name}"),
        call_id=name,
        execution_id="1",
        phase="finished" if ended else "started",
        outcome=outcome("succeeded", evidence=Evidence(level="full")) if ended else None,
    )


def found(calls: list[OpenCall], jobs: list[Observation]) -> dict[str, list[str]]:
    result = compare(calls, jobs, identity="here", began=NOW)
    return {
        "seen": [o.call_id for o in result.seen],
        "stop": [f"{o.call_id} {reason}" for o, reason in result.stop],
        "ask": [c.call_id for c in result.ask],
        "strange": [o.call_id for o in result.strange],
        "elsewhere": [c.call_id for c in result.elsewhere],
    }


def nothing(**but: list[str]) -> dict[str, list[str]]:
    return {"seen": [], "stop": [], "ask": [], "strange": [], "elsewhere": []} | but


def test_a_job_of_an_open_call_is_told() -> None:
    assert found([call("a")], [job("a")]) == nothing(seen=["a"])
    assert found([call("a", handle=None)], [job("a", ended=True)]) == nothing(seen=["a"])


def test_a_job_without_an_open_call_is_strange() -> None:
    assert found([], [job("a")]) == nothing(strange=["a"])


def test_a_call_is_stopped_while_its_job_runs() -> None:
    assert found([call("a", stop="cancel")], [job("a")]) == nothing(seen=["a"], stop=["a cancel"])
    assert found([call("a", overdue=True)], [job("a")]) == nothing(seen=["a"], stop=["a deadline"])
    assert found([call("a", stop="cancel")], [job("a", ended=True)]) == nothing(seen=["a"])


def test_a_missing_job_is_asked_for_by_name() -> None:
    assert found([call("a")], []) == nothing(ask=["a"])


def test_a_job_with_another_uid_is_not_the_one_that_was_parked() -> None:
    assert found([call("a")], [job("a", uid="new")]) == nothing(ask=["a"])


def test_nothing_is_asked_of_calls_that_may_not_be_judged() -> None:
    other = Handle(runtime="fake", cluster="there", name="a", uid="u")
    assert found([call("a", handle=other)], []) == nothing(elsewhere=["a"])
    assert found([call("a", handle=None)], []) == nothing()
    assert found([call("a", parked_at=None)], []) == nothing()
    assert found([call("a", parked_at=NOW)], []) == nothing()
    unsure = Handle(runtime="fake", cluster="here", name="a")
    assert found([call("a", handle=unsure)], []) == nothing()


def suspect(name: str, seconds_ago: float) -> dict[str, Suspect]:
    return {name: Suspect(f"uid-{name}", NOW - timedelta(seconds=seconds_ago))}


def test_lost_only_after_two_looks_thirty_seconds_apart() -> None:
    gone = [(call("a"), None)]
    first = judge(gone, {}, parked=9, now=NOW, confirm_seconds=30)
    assert (first.lost, first.suspects) == ([], suspect("a", 0))
    early = judge(gone, suspect("a", 29.9), parked=9, now=NOW, confirm_seconds=30)
    assert (early.lost, early.suspects) == ([], suspect("a", 29.9))
    second = judge(gone, suspect("a", 30), parked=9, now=NOW, confirm_seconds=30)
    (end,) = second.lost
    assert end.outcome is not None
    assert (end.outcome.state, end.outcome.started, end.outcome.evidence.level) == ("lost", True, "none")


def test_a_suspicion_of_another_parking_does_not_count() -> None:
    old = {"a": Suspect("uid-old", EPOCH)}
    assert not judge([(call("a"), None)], old, parked=9, now=NOW, confirm_seconds=30).lost


def test_another_job_under_the_name_counts_as_gone() -> None:
    gone = [(call("a"), job("a", uid="new"))]
    assert judge(gone, suspect("a", 60), parked=9, now=NOW, confirm_seconds=30).lost


def test_a_job_that_is_there_after_all_is_told_and_no_longer_suspect() -> None:
    there = judge([(call("a"), job("a", ended=True))], suspect("a", 60), parked=1, now=NOW, confirm_seconds=30)
    assert ([o.call_id for o in there.seen], there.lost, there.suspects) == (["a"], [], {})


def test_a_job_that_is_there_after_all_is_stopped_when_it_should() -> None:
    there = judge([(call("a", stop="cancel"), job("a"))], {}, parked=1, now=NOW, confirm_seconds=30)
    assert [(o.call_id, reason) for o, reason in there.stop] == [("a", "cancel")]


@given(st.integers(1, 40), st.integers(0, 40))
def test_many_at_once_are_not_believed(gone: int, there: int) -> None:
    calls = [call(f"c{n}") for n in range(gone)]
    suspects = {c.call_id: Suspect(f"uid-{c.call_id}", EPOCH) for c in calls}
    judged = judge([(c, None) for c in calls], suspects, parked=gone + there, now=NOW, confirm_seconds=30)
    if gone > 5 and gone * 2 > gone + there:
        assert (judged.lost, judged.suspects, judged.vanished) == ([], {}, gone)
    else:
        assert (len(judged.lost), judged.vanished) == (gone, 0)
