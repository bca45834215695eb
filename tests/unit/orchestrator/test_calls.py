"""Retries, policy rules, lists of tools, loops, and workers that vanish."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from portcall import app
from portcall.model import event as e
from portcall.testing.drive import Drive

HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: t, path: t}\n"


def drive(workflow: str, **workload: object) -> Drive:
    text = HEAD + "workflow:\n" + indent(dedent(workflow).strip("\n"), "  ") + "\n"
    return Drive(app.load_playbook(text), workload)


CONTAINER = """
- step: start
  tool:
    kind: container
    image: x
    command: [x]
    resources: {limits: {memory: 64Mi}}
  retry:
"""


def with_retry(*entries: str) -> Drive:
    return drive(CONTAINER + "".join(f"    - {entry}\n" for entry in entries))


# -- retry --------------------------------------------------------------------------------------


def test_out_of_memory_is_tried_again_with_more_up_to_the_limit() -> None:
    run = with_retry("{on: failed_oom, max_attempts: 5, grow: {memory: 2x, up_to: 200Mi}}")
    grown = []
    while run.status == "running":
        grown.append(run.call("start").grown.get("memory"))
        run.end_container("start", "failed_oom")
    assert grown == [None, "128Mi", "200Mi"]
    assert run.status == "failed"


def test_another_outcome_is_not_tried_again_by_that_entry() -> None:
    run = with_retry("{on: failed_oom, max_attempts: 5}")
    run.end_container("start", "failed", exit_code=3)
    assert run.status == "failed"


def test_max_attempts_counts_the_first() -> None:
    run = with_retry("{on: user, max_attempts: 3, backoff: {initial: 0s, jitter: false}}")
    for _ in range(3):
        run.end_container("start", "failed")
    assert run.status == "failed"
    assert run.known.steps["start"].attempts == 3


def test_a_container_that_never_started_is_tried_three_more_times_by_default() -> None:
    run = drive("- {step: start, tool: {kind: container, image: x, command: [x]}}")
    for _ in range(4):
        run.end_container("start", "failed_unschedulable", started=False)
    assert run.status == "failed"
    assert run.known.steps["start"].attempts == 4


def test_a_container_that_may_have_started_is_not_repeated_unasked() -> None:
    run = drive("- {step: start, tool: {kind: container, image: x, command: [x]}}")
    run.end_container("start", "lost")
    assert run.status == "failed"


def test_the_delay_grows_and_is_the_same_when_decided_again() -> None:
    run = with_retry("{on: user, max_attempts: 4, backoff: {initial: 2s, factor: 3, max: 10s}}")
    delays = []
    for _ in range(3):
        issued = next(x for x in run.end_container("start", "failed") if isinstance(x, e.CommandIssued))
        assert issued.not_before is not None
        delays.append((issued.not_before - run.now).total_seconds())
    assert 1 <= delays[0] <= 2
    assert 3 <= delays[1] <= 6
    assert 5 <= delays[2] <= 10
    run.end_container("start")
    assert run.replayed().differences == []


def test_every_attempt_is_a_new_call() -> None:
    run = with_retry("{on: user, max_attempts: 2, backoff: {initial: 0s}}")
    first = run.call("start")
    run.end_container("start", "failed")
    again = run.call("start")
    assert again.call_id != first.call_id
    assert (first.attempt, again.attempt) == (1, 2)


# -- workers that vanish ------------------------------------------------------------------------


def test_a_call_whose_worker_vanished_is_a_new_attempt() -> None:
    run = drive("- {step: start, tool: {kind: noop}}")
    first = run.call("start").call_id
    run.expire("start")
    assert run.call("start").call_id != first
    run.answer("start", {"x": 1})
    assert run.status == "completed"


def test_a_container_keeps_its_call_when_its_worker_vanished() -> None:
    run = drive("- {step: start, tool: {kind: container, image: x, command: [x]}}")
    first = run.call("start").call_id
    run.expire("start")
    assert run.call("start").call_id == first


def test_a_call_that_takes_its_worker_down_with_it_ends() -> None:
    run = drive("- {step: start, tool: {kind: noop}}")
    for _ in range(5):
        run.expire("start")
    assert run.status == "failed"
    assert run.known.error is not None
    assert run.known.error.kind == "worker_lost"


def test_resuming_is_not_counted_against_a_call() -> None:
    run = drive("- {step: start, tool: {kind: noop}}")
    for _ in range(20):
        run.expire("start", reason="resumed")
    run.answer("start")
    assert run.status == "completed"


# -- policy rules ---------------------------------------------------------------------------------


def with_rules(rules: str) -> Drive:
    return drive(
        f"""
        - step: start
          tool: {{kind: noop, spec: {{policy: {{rules: {rules}}}}}}}
          next: after
        - {{step: after, tool: {{kind: noop}}}}
        """
    )


def test_continue_takes_care_of_an_error() -> None:
    run = with_rules("[{else: {then: {do: continue}}}]")
    run.fail("start")
    run.answer("after")
    assert run.status == "completed"


def test_a_rule_for_another_error_does_not() -> None:
    run = with_rules("[{when: \"{{ output.error.kind == 'timeout' }}\", then: {do: continue}}]")
    run.fail("start", kind="connection")
    assert run.status == "failed"


def test_retry_by_a_rule_counts_the_first_attempt() -> None:
    run = with_rules("[{when: \"{{ output.status == 'error' }}\", then: {do: retry, attempts: 3, delay: 0}}]")
    for _ in range(3):
        run.fail("start")
    assert run.status == "failed"
    assert run.known.steps["start"].attempts == 3


def test_a_rule_may_fail_a_success() -> None:
    run = with_rules('[{when: "{{ output.data.n < 3 }}", then: {do: fail}}]')
    run.answer("start", {"n": 1})
    assert run.status == "failed"


def test_a_rule_sees_the_outcome_after_retry_has_given_up() -> None:
    run = drive(
        """
        - step: start
          tool:
            kind: container
            image: x
            command: [x]
            spec: {policy: {rules: [{when: "{{ output.error.kind == 'failed_oom' }}", then: {do: continue}}]}}
          retry: {on: failed_oom, max_attempts: 2, backoff: {initial: 0s}}
        """
    )
    run.end_container("start", "failed_oom")
    assert run.status == "running"
    run.end_container("start", "failed_oom")
    assert run.status == "completed"


# -- lists ----------------------------------------------------------------------------------------

LIST = """
- step: start
  tool:
    - {name: one, kind: noop, set: {kept: "{{ output.data.n }}"}}
    - name: two
      kind: noop
      input: {a: "{{ one.n }}", b: "{{ kept }}"}
      spec:
        policy:
          rules:
            - {when: "{{ output.data.again }}", then: {do: jump, to: one}}
            - {when: "{{ output.data.stop }}", then: {do: break}}
    - {three: {kind: noop}}
  next: end
- {step: end, tool: {kind: noop}, input: {x: "{{ start.results.one.n }}"}}
"""


def test_a_list_runs_in_order_each_tool_seeing_the_earlier_ones() -> None:
    run = drive(LIST)
    run.answer("start", {"n": 7})
    two = run.call("start")
    assert two.position == 1
    assert two.scope["one"]["n"] == 7
    assert two.scope["kept"] == 7
    run.answer("start", {"m": 1})
    run.answer("start", {"last": True})
    assert run.known.steps["start"].data == {
        "last": True,
        "results": {"one": {"n": 7}, "two": {"m": 1}, "three": {"last": True}},
    }


def test_jump_enters_a_tool_again_as_a_new_call() -> None:
    run = drive(LIST)
    first = run.call("start").call_id
    run.answer("start", {"n": 1})
    run.answer("start", {"again": True})
    again = run.call("start")
    assert (again.position, again.entry) == (0, 2)
    assert again.call_id != first


def test_break_ends_the_list_well() -> None:
    run = drive(LIST)
    run.answer("start", {"n": 1})
    run.answer("start", {"stop": True})
    run.answer("end")
    assert run.status == "completed"


# -- loops ----------------------------------------------------------------------------------------


def loop(spec: str, items: object = (1, 2, 3)) -> Drive:
    return drive(
        f"""
        - step: start
          loop: {{in: "{{{{ workload.xs }}}}", iterator: x, spec: {spec}}}
          tool: {{kind: noop, input: {{v: "{{{{ x }}}}"}}}}
          next: end
        - {{step: end, tool: {{kind: noop}}}}
        """,
        xs=list(items) if isinstance(items, tuple) else items,
    )


def test_sequential_runs_one_after_the_other() -> None:
    run = loop("{mode: sequential}")
    for index in range(3):
        assert [c.iteration for c in run.open] == [index]
        run.answer("start", {"i": index})
    data = run.known.steps["start"].data
    assert data["results"] == [{"i": 0}, {"i": 1}, {"i": 2}]
    assert data["stats"] == {"total": 3, "success": 3, "failed": 0}


def test_parallel_keeps_to_max_in_flight_and_the_results_in_order() -> None:
    run = loop("{mode: parallel, max_in_flight: 2}")
    assert [c.iteration for c in run.open] == [0, 1]
    run.answer("start", "b", iteration=1)
    assert [c.iteration for c in run.open] == [0, 2]
    run.answer("start", "c", iteration=2)
    run.answer("start", "a", iteration=0)
    assert run.known.steps["start"].data["results"] == ["a", "b", "c"]


def test_parallel_without_a_bound_starts_all() -> None:
    assert len(loop("{mode: parallel}").open) == 3


def test_an_empty_list_goes_on() -> None:
    run = loop("{mode: parallel}", ())
    assert run.known.steps["start"].data == {"results": [], "stats": {"total": 0, "success": 0, "failed": 0}}
    run.answer("end")
    assert run.status == "completed"


@pytest.mark.parametrize("items", [None, "abc", {"a": 1}, 5])
def test_what_is_no_list_is_an_error(items: object) -> None:
    run = loop("{mode: parallel}", items)
    assert run.status == "failed"
    assert run.known.error is not None
    assert "must give a list" in run.known.error.message


def test_a_failed_iteration_fails_a_sequential_loop_at_once() -> None:
    run = loop("{mode: sequential}")
    run.fail("start")
    assert run.status == "failed"
    assert run.open == []


def test_a_failed_iteration_fails_a_parallel_loop_when_the_others_have_ended() -> None:
    run = loop("{mode: parallel}")
    run.fail("start", iteration=1)
    assert run.status == "running"
    run.answer("start", "a", iteration=0)
    run.answer("start", "c", iteration=2)
    assert run.status == "failed"
    assert run.known.steps["start"].data == {
        "results": ["a", None, "c"],
        "stats": {"total": 3, "success": 2, "failed": 1},
    }


def test_each_iteration_binds_its_item_and_place() -> None:
    run = drive(
        """
        - step: start
          loop: {in: "{{ ['a', 'b'] }}", iterator: x}
          tool: {kind: noop, input: {v: "{{ [x, item, iter.x, _index, loop_index, _total] }}"}}
        """
    )
    scope = run.call("start").scope
    assert (scope["x"], scope["item"], scope["iter"]["x"]) == ("a", "a", "a")
    assert (scope["_index"], scope["loop_index"], scope["_total"]) == (0, 0, 2)


def test_a_command_carries_only_what_its_templates_name() -> None:
    run = drive(
        """
        - {step: start, tool: {kind: noop}, next: two}
        - {step: two, tool: {kind: noop, message: "{{ workload.small }}"}}
        """,
        small=1,
        big="x" * 10_000,
    )
    run.answer("start", {"huge": "y" * 10_000})
    assert set(run.call("two").scope) == {"workload"}
