"""Which step comes next: choices, joins, skips, loops by back arcs, failures."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from portcall import app
from portcall.testing.drive import Drive

HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: t, path: t}\n"


def drive(workflow: str, head: str = "", **workload: object) -> Drive:
    text = HEAD + dedent(head) + "workflow:\n" + indent(dedent(workflow).strip("\n"), "  ") + "\n"
    return Drive(app.load_playbook(text), workload)


DIAMOND = """
- step: start
  tool: {kind: noop}
  next:
    spec: {mode: inclusive}
    arcs: [{step: a, when: "{{ workload.a }}"}, {step: b, when: "{{ workload.b }}"}]
- {step: a, tool: {kind: noop}, next: join}
- {step: b, tool: {kind: noop}, next: b2}
- {step: b2, tool: {kind: noop}, next: join}
- {step: join, tool: {kind: noop}}
"""


def test_a_join_waits_for_every_live_branch() -> None:
    run = drive(DIAMOND, a=True, b=True)
    run.answer("start")
    run.answer("a")
    assert run.runs("join") == 0
    run.answer("b")
    run.answer("b2")
    run.answer("join")
    assert run.runs("join") == 1
    assert run.status == "completed"


def test_a_join_does_not_wait_for_a_branch_that_was_not_taken() -> None:
    run = drive(DIAMOND, a=True, b=False)
    run.answer("start")
    assert run.step_status("b") == "skipped"
    assert run.step_status("b2") == "skipped"
    run.answer("a")
    run.answer("join")
    assert run.status == "completed"


def test_when_no_branch_is_taken_everything_after_is_skipped() -> None:
    run = drive(DIAMOND, a=False, b=False)
    run.answer("start")
    assert run.status == "completed"
    assert [run.step_status(s) for s in ("a", "b", "b2", "join")] == ["skipped"] * 4


def test_exclusive_takes_the_first_arc_that_holds() -> None:
    run = drive(
        """
        - step: start
          tool: {kind: noop}
          next:
            spec: {mode: exclusive}
            arcs: [{step: a, when: "{{ output.data.n > 5 }}"}, {step: b, when: "{{ start.n > 1 }}"}, {step: c}]
        - {step: a, tool: {kind: noop}}
        - {step: b, tool: {kind: noop}}
        - {step: c, tool: {kind: noop}}
        """
    )
    run.answer("start", {"n": 3})
    assert [c.step for c in run.open] == ["b"]


def test_a_step_whose_when_is_false_is_skipped_and_what_follows_it_too() -> None:
    run = drive(
        """
        - {step: start, tool: {kind: noop}, next: [a, b]}
        - {step: a, when: "{{ workload.go }}", tool: {kind: noop}, next: a2}
        - {step: a2, tool: {kind: noop}, next: end}
        - {step: b, tool: {kind: noop}, next: end}
        - {step: end, tool: {kind: noop}}
        """,
        go=False,
    )
    run.answer("start")
    assert (run.step_status("a"), run.step_status("a2")) == ("skipped", "skipped")
    run.answer("b")
    run.answer("end")
    assert run.status == "completed"


LOOP = """
- {step: start, tool: {kind: noop}, next: work}
- {step: work, tool: {kind: noop}, set: {ctx.n: "{{ (ctx.n or 0) + 1 }}"}, next: check}
- step: check
  tool: {kind: noop}
  next: {spec: {mode: exclusive}, arcs: [{step: work, when: "{{ ctx.n < 3 }}"}, {step: end}]}
- {step: end, tool: {kind: noop}}
"""


def test_a_back_arc_enters_its_target_as_a_new_run_and_the_exit_waits() -> None:
    run = drive(LOOP)
    run.answer("start")
    for _ in range(3):
        assert run.step_status("end") == "pending"
        run.answer("work")
        run.answer("check")
    run.answer("end")
    assert run.status == "completed"
    assert (run.runs("work"), run.runs("check"), run.runs("end")) == (3, 3, 1)
    assert run.known.ctx == {"n": 3}


def test_each_run_has_calls_of_its_own() -> None:
    run = drive(LOOP)
    run.answer("start")
    first = run.call("work").call_id
    run.answer("work")
    run.answer("check")
    assert run.call("work").call_id != first


def test_a_join_inside_a_loop_joins_in_every_round() -> None:
    run = drive(
        """
        - {step: start, tool: {kind: noop}, next: fork}
        - step: fork
          tool: {kind: noop}
          set: {ctx.n: "{{ (ctx.n or 0) + 1 }}"}
          next: [a, b]
        - {step: a, tool: {kind: noop}, next: join}
        - {step: b, tool: {kind: noop}, next: join}
        - step: join
          tool: {kind: noop}
          next: [{step: fork, when: "{{ ctx.n < 2 }}"}, {step: end}]
        - {step: end, tool: {kind: noop}}
        """
    )
    run.answer("start")
    for _ in range(2):
        run.answer("fork")
        run.answer("b")
        assert run.step_status("join") != "running"
        run.answer("a")
        run.answer("join")
    run.answer("end")
    assert run.runs("join") == 2
    assert run.status == "completed"


def test_an_exit_from_the_middle_of_a_loop_is_not_skipped_too_early() -> None:
    run = drive(
        """
        - {step: start, tool: {kind: noop}, next: try}
        - step: try
          tool: {kind: noop}
          next: [{step: out, when: "{{ output.data.ok }}"}, {step: wait}]
        - {step: wait, tool: {kind: noop}, next: try}
        - {step: out, tool: {kind: noop}}
        """
    )
    run.answer("start")
    run.answer("try", {"ok": False})
    assert run.step_status("out") == "pending"
    run.answer("wait")
    run.answer("try", {"ok": True})
    run.answer("out")
    assert run.status == "completed"
    assert run.runs("try") == 2


# -- failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arcs", "handled"),
    [
        ("[{step: next}]", False),
        ('[{step: next, when: "{{ true }}"}]', False),
        ("[{step: next, when: \"{{ output.status == 'error' }}\"}]", True),
        ('[{step: next, when: "{{ error }}"}]', True),
        ("[{step: next, when: \"{{ start.status == 'error' }}\"}]", True),
        ("[{step: next, when: \"{{ event.name == 'call.done' }}\"}]", True),
        ('[{step: next, when: "{{ start.has_more != true }}"}]', False),
        ("[{step: next, when: \"{{ output.status == 'success' }}\"}]", False),
    ],
)
def test_only_an_arc_that_reads_the_outcome_handles_a_failure(arcs: str, handled: bool) -> None:  # noqa: FBT001 - a parameter
    run = drive(
        f"""
        - {{step: start, tool: {{kind: noop}}, next: {{arcs: {arcs}}}}}
        - {{step: next, tool: {{kind: noop}}}}
        """
    )
    run.fail("start")
    if handled:
        run.answer("next")
        assert run.status == "completed"
    else:
        assert run.status == "failed"
        assert run.known.error is not None
        assert run.known.error.message == "it broke"


def test_an_unhandled_failure_stops_the_other_branches_and_waits_for_them() -> None:
    run = drive(
        """
        - {step: start, tool: {kind: noop}, next: [a, b]}
        - {step: a, tool: {kind: container, image: x, command: [x]}}
        - {step: b, tool: {kind: noop}}
        """
    )
    run.answer("start")
    run.park("a")
    run.fail("b")
    assert run.status == "failing"
    assert run.known.calls[run.call("a").call_id].stop == "cancel"
    run.end_container("a", "cancelled")
    assert run.status == "failed"
    assert (run.step_status("a"), run.step_status("b")) == ("cancelled", "failed")


def test_a_success_that_came_before_the_stop_is_a_success() -> None:
    run = drive(
        """
        - {step: start, tool: {kind: noop}, next: [a, b]}
        - {step: a, tool: {kind: container, image: x, command: [x]}}
        - {step: b, tool: {kind: noop}}
        """
    )
    run.answer("start")
    run.park("a")
    run.fail("b")
    run.end_container("a", "succeeded")
    assert run.status == "failed"
    assert run.step_status("a") == "completed"


def test_cancel_waits_for_the_open_calls() -> None:
    run = drive("- {step: start, tool: {kind: container, image: x, command: [x]}}")
    run.park("start")
    run.cancel()
    assert run.status == "cancelling"
    run.end_container("start", "cancelled")
    assert run.status == "cancelled"


def test_an_error_in_a_condition_fails_the_execution_and_says_where() -> None:
    run = drive(
        """
        - {step: start, tool: {kind: noop}, next: {arcs: [{step: a, when: "{{ 1 / workload.zero }}"}]}}
        - {step: a, tool: {kind: noop}}
        """,
        zero=0,
    )
    run.answer("start")
    assert run.status == "failed"
    assert run.known.error is not None
    assert "start" in run.known.error.message


def test_replay_decides_the_same() -> None:
    run = drive(LOOP)
    run.answer("start")
    for _ in range(3):
        run.answer("work")
        run.answer("check")
    run.answer("end")
    assert run.replayed().differences == []
    assert run.folded() == run.known
