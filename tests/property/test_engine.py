"""Any playbook, any outcomes, in any order, repeated and interrupted: what must hold always."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from portcall import app, ids
from portcall.model import event as e
from portcall.model.state import fold
from portcall.testing.drive import Drive

CONDITIONS = [
    None,
    "{{ output.data.n > 2 }}",
    "{{ output.data.n <= 2 }}",
    "{{ output.status == 'error' }}",
    "{{ output.status == 'success' }}",
    "{{ (ctx.rounds or 0) < 3 }}",
]


@st.composite
def playbooks(draw: st.DrawFn) -> dict[str, Any]:  # noqa: C901 - one choice after the other
    """Forward arcs anywhere, some arcs backwards, loops, retries, rules and guards here and there."""
    count = draw(st.integers(1, 7))
    names = ["start", *(f"s{i}" for i in range(1, count))]
    steps = []
    for index, name in enumerate(names):
        kind = draw(st.sampled_from(["noop", "container"]))
        tool: dict[str, Any] = {"kind": kind}
        if kind == "container":
            tool |= {"image": "x", "command": ["x"]}
        if draw(st.integers(0, 5)) == 0:
            tool["spec"] = {"policy": {"rules": [{"else": {"then": {"do": "continue"}}}]}}
        step: dict[str, Any] = {
            "step": name,
            "tool": tool,
            "set": {"ctx.rounds": "{{ (ctx.rounds or 0) + 1 }}"},
        }
        if draw(st.integers(0, 5)) == 0:
            step["when"] = draw(st.sampled_from(["{{ workload.yes }}", "{{ not workload.yes }}"]))
        if draw(st.integers(0, 4)) == 0:
            mode = draw(st.sampled_from(["sequential", "parallel"]))
            step["loop"] = {
                "in": "{{ workload.items }}",
                "iterator": "x",
                "spec": {"mode": mode, "max_in_flight": 2},
            }
        if draw(st.integers(0, 3)) == 0:
            step["retry"] = {"on": "any", "max_attempts": 2, "backoff": {"initial": "0s"}}
        arcs = []
        for _ in range(draw(st.integers(0, 3))):
            if index + 1 < count and draw(st.integers(0, 4)):
                arcs.append({"step": names[draw(st.integers(index + 1, count - 1))]})
            elif index:
                # Back, and not for ever.
                back = {"step": names[draw(st.integers(0, index))], "when": "{{ (ctx.rounds or 0) < 3 }}"}
                arcs.append(back)
                continue
            else:
                continue
            if condition := draw(st.sampled_from(CONDITIONS)):
                arcs[-1]["when"] = condition
        if arcs:
            step["next"] = {"spec": {"mode": draw(st.sampled_from(["exclusive", "inclusive"]))}, "arcs": arcs}
        steps.append(step)
    return {
        "apiVersion": "noetl.io/v2",
        "kind": "Playbook",
        "metadata": {"name": "t", "path": "t"},
        "workload": {"yes": draw(st.booleans()), "items": draw(st.lists(st.integers(0, 4), max_size=4))},
        "workflow": steps,
    }


class World:
    """Ends what is open, in an order and in a way that hypothesis chooses."""

    def __init__(self, drive: Drive, data: st.DataObject) -> None:
        self.drive = drive
        self.data = data
        self.ended: set[str] = set()

    def step(self) -> None:
        drive = self.drive
        command = self.data.draw(st.sampled_from(drive.open))
        action = self.data.draw(st.sampled_from(["ok", "ok", "ok", "fail", "park", "expire", "late", "cancel"]))
        if action == "ok":
            drive.done(command, {"n": self.data.draw(st.integers(0, 5))})
        elif action == "fail":
            drive.take(self._failed(command.call_id))
        elif action == "park":
            drive.park(command.step, command.iteration)
        elif action == "expire" and drive.known.calls[command.call_id].handle is None:
            drive.take(
                e.CommandExpired(
                    execution_id="1", at=drive.now, call_id=command.call_id, worker_id="w", claim=1
                )
            )
        elif action == "late" and self.ended:
            gone = self.data.draw(st.sampled_from(sorted(self.ended)))
            assert drive.take(self._failed(gone))[1:] == [], "a call ends once"
        elif action == "cancel" and self.data.draw(st.integers(0, 9)) == 0:
            drive.cancel()
        self.ended |= set(drive.commands) - set(drive.known.calls)

    def _failed(self, call: str) -> e.CallDone:
        return e.CallDone(
            execution_id="1",
            at=self.drive.now,
            event_id=ids.event_id(call, "call.done"),
            call_id=call,
            status="error",
            error=e.Error(kind="exception", message="broken"),
        )


@settings(max_examples=300, deadline=None)
@given(playbooks(), st.data())
def test_every_execution_ends_and_its_log_is_the_truth(document: dict[str, Any], data: st.DataObject) -> None:
    drive = Drive(app.load_playbook(json.dumps(document)))
    world = World(drive, data)
    for _ in range(400):
        if drive.known.ended is not None:
            break
        assert drive.open, f"stuck: {drive.status} with nothing open, waiting {drive.known.waiting}"
        world.step()
    else:
        drive.cancel()
        for command in drive.open:
            drive.done(command)
    assert drive.status in ("completed", "failed", "cancelled")
    assert drive.open == []
    issued = [x.call_id for x in drive.log if isinstance(x, e.CommandIssued)]
    assert len(issued) == len(set(issued)), "no two invocations share an identity"
    assert {drive.step_status(name) for name in drive.playbook.steps} <= {
        "completed",
        "failed",
        "skipped",
        "cancelled",
    }
    _nothing_failed_is_called_completed(drive)
    assert drive.folded() == drive.known
    assert drive.replayed().differences == []
    assert [x.seq for x in drive.log] == list(range(1, len(drive.log) + 1))


def _nothing_failed_is_called_completed(drive: Drive) -> None:
    unhandled = [x for x in drive.log if isinstance(x, e.StepEnded) and x.status == "failed" and not x.handled]
    if unhandled:
        assert drive.status == "failed"


@settings(max_examples=100, deadline=None)
@given(playbooks(), st.data(), st.integers(1, 60))
def test_the_state_may_be_dropped_at_any_time(
    document: dict[str, Any], data: st.DataObject, every: int
) -> None:
    drive = Drive(app.load_playbook(json.dumps(document)))
    world = World(drive, data)
    for turn in range(100):
        if drive.known.ended is not None:
            break
        if turn % every == 0:
            state = None
            for event in drive.log:
                state = fold(state, e.decode(e.encode(event)))
            drive.state = state
        world.step()
    assert drive.replayed().differences == []
