"""What the loader makes of the text."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.playbook import check, load
from portcall.playbook.duration import seconds
from portcall.playbook.model import Arc, Assertion, Backoff, Playbook, Retry, Rule, Then
from portcall.tool import registry

KINDS = registry.kinds()
HERE = Path(__file__).parent
HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: t}\n"


def right(name: str) -> Playbook:
    return load((HERE / "right" / f"{name}.yaml").read_text(), KINDS, name)


def one_step(step: str) -> Any:
    steps = f"  - step: start\n{step}  - {{step: other, tool: {{kind: noop}}}}\n"
    return load(f"{HEAD}workflow:\n{steps}", KINDS).steps["start"]


def arc(when: str, name: str = "start", workload: str = "{}") -> Arc:
    """The arc with this condition, out of the step `name`."""
    steps = [(name, f'[{{step: end, when: "{when}"}}]'), ("end", "")]
    if name != "start":
        steps.insert(0, ("start", name))
    text = "".join(f"  - step: {step}\n    tool: {{kind: noop}}\n    next: {to}\n" for step, to in steps)
    return load(f"{HEAD}workload: {workload}\nworkflow:\n{text}", KINDS).steps[name].arcs[0]


def test_the_root() -> None:
    playbook = right("shapes")
    assert (playbook.name, playbook.path, playbook.file) == ("shapes", "shapes", "shapes")
    assert playbook.workload == {"text": "no", "octal": 10, "time": "12:30", "big": 12345678901234567890}
    assert playbook.keychain == ({"name": "warehouse", "kind": "secret", "auth": "x"},)
    assert right("container").path == "demo/train"
    assert playbook.digest != right("container").digest
    assert list(playbook.steps) == list(playbook.graph.order) == ["start", "one", "two", "three", "joined"]
    assert [step.index for step in playbook.steps.values()] == [0, 1, 2, 3, 4]
    assert playbook.steps["one"].line == 18


def test_the_shapes_of_next() -> None:
    steps = right("shapes").steps
    assert steps["start"].arcs == (Arc("one"),)
    assert (steps["one"].mode, [arc.step for arc in steps["one"].arcs]) == ("inclusive", ["two", "three"])
    assert (steps["two"].mode, [arc.reads_outcome for arc in steps["two"].arcs]) == ("exclusive", [True, False])
    assert steps["two"].arcs[0].set == {"ctx.a": 1}
    assert (steps["three"].mode, [arc.back for arc in steps["three"].arcs]) == ("inclusive", [False, True])
    assert steps["joined"].arcs == ()


def test_policy_and_assert() -> None:
    fetch, last = right("shapes").steps["three"].tools
    assert fetch.rules == (
        Rule(
            "{{ output.error.kind == 'timeout' }}", Then("retry", attempts=5, backoff="exponential", delay=2.0)
        ),
        Rule(False, Then("jump", to="last")),  # noqa: FBT003 - a condition
        Rule(None, Then("continue")),
    )
    assert last.rules == (Rule(None, Then("break")),)
    assert fetch.expects == Assertion(("a",), ("b", "c"))
    assert fetch.set == {"bare": "{{ output }}"}
    assert (fetch.name, last.name, right("shapes").steps["three"].is_list) == ("fetch", "last", True)


def test_retry() -> None:
    assert right("shapes").steps["three"].retry == (
        Retry(("failed_oom",), 4, Backoff(initial=0.5, max=90.0), {"memory": "2x"}, {"memory": "16Gi"}),
    )


def test_workbook_inputs_merge_and_the_nearer_wins() -> None:
    tool = right("shapes").steps["two"].tools[0]
    assert (tool.name, tool.kind) == ("two", "noop")
    assert tool.config == {"message": "nearer"}
    assert tool.input == {"x": 1, "y": 20, "z": 40}


def test_merge_keys() -> None:
    steps = right("merge_keys").steps
    assert steps["start"].tools[0].config == {"message": "near"}
    assert steps["second"].tools[0].config == {"message": "nearer", "result": 1}


@pytest.mark.parametrize(
    "when",
    [
        "output.status == 'error'",
        "output.error",
        "output.error.kind == 'timeout'",
        "error",
        "error.kind",
        "event",
        "event.name == 'loop.done'",
        "train.status == 'error'",
        "train.error",
        "train.terminal_state != 'x'",
        "train.exit_code == 1",
        "train.reason",
        "output.reason",
        "output.data.exit_code",
        "train.data.terminal_state",
        "steps.train.status",
        "steps['train'].exit_code",
        "train['status']",
        "output['error']",
        "output.http.status == 404",
        "x and output.status == 'error'",
    ],
)
def test_conditions_that_read_the_outcome(when: str) -> None:
    assert arc("{{ " + when + " }}", "train").reads_outcome


@pytest.mark.parametrize(
    "when",
    [
        "train.has_more != true",
        "output",
        "output.data",
        "output.data.status",
        "output.status_code",
        "start.status",
        "start.exit_code",
        "steps.start.error",
        "ctx.error",
        "workload.status",
        "status",
        "train",
        "train.data.error",
        "iter.error",
        "'output.status'",
    ],
)
def test_conditions_that_do_not(when: str) -> None:
    assert not arc("{{ " + when + " }}", "train").reads_outcome


def test_a_workload_key_hides_a_built_in_name() -> None:
    assert not arc("{{ event.ready }}", workload="{event: {ready: true}}").reads_outcome
    assert arc("{{ start.status }}", workload="{event: {}}").reads_outcome


def test_a_step_whose_name_is_no_identifier_reads_its_own_outcome() -> None:
    assert arc("{{ steps['my-step'].status == 'error' }}", "my-step").reads_outcome


def test_reads() -> None:
    step = one_step(
        "    input: {a: '{{ one.x.y }}'}\n    set: {ctx.a: '{{ two }}'}\n"
        "    tool: {kind: noop, message: '{{ three }} {{ a }}', input: {b: ['{{ four.z }}']},"
        " spec: {policy: {rules: [{when: '{{ five }}', then: {set: {ctx.b: '{{ six }}'}}}]}}}\n"
    )
    assert step.tools[0].reads == {"one.x.y", "two", "three", "a", "four.z", "five", "six"}


def test_python_code_is_no_template_and_may_read_everything() -> None:
    plain = one_step("    tool: {kind: python, code: \"result = f'{{ not }} {{ a template'\"}\n")
    assert plain.tools[0].reads == frozenset()
    assert one_step("    tool: {kind: python, code: 'result = context'}\n").tools[0].reads is None
    assert one_step("    tool: {kind: python, script: 'result = context'}\n").tools[0].reads is None
    assert one_step("    tool: {kind: python, code: 'result = contexts'}\n").tools[0].reads == frozenset()


def test_every_problem_has_its_path() -> None:
    text = (HERE / "wrong" / "config.yaml").read_text()
    _, problems = check(text, KINDS)
    assert "workflow[2].tool.env[0].valu" in [problem.path for problem in problems]
    assert "workflow[0].tool.mesage" in [problem.path for problem in problems]


def test_the_line_inside_a_literal_block() -> None:
    command = "      command: |\n        a\n\n          b {{ 1 + }}\n"
    text = f"{HEAD}workflow:\n  - step: start\n    tool:\n      kind: shell\n{command}"
    _, (problem,) = check(text, KINDS)
    assert (problem.line, text.splitlines()[problem.line - 1][problem.column - 1]) == (11, "}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0),
        (0.5, 0.5),
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1m", 60.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("7", 7.0),
        ("", None),
        ("5 minutes", None),
        (-1, None),
        (True, None),
        (None, None),
        ("-2s", None),
    ],
)
def test_durations(value: object, expected: float | None) -> None:
    assert seconds(value) == expected


def test_a_long_chain_loads() -> None:
    names = ["start", *(f"s{i}" for i in range(1, 3000))]
    arcs = [*(f"    next: {name}\n" for name in names[1:]), ""]
    steps = (
        f"  - step: {name}\n    tool: {{kind: noop}}\n{arc}" for name, arc in zip(names, arcs, strict=True)
    )
    playbook = load(HEAD + "workflow:\n" + "".join(steps), KINDS)
    assert playbook.graph.rank == tuple(range(3000))


CORPUS = [file.read_text() for folder in ("right", "wrong") for file in sorted((HERE / folder).glob("*.yaml"))]
PIECES = st.sampled_from(
    ["null", "[]", "{}", "3", "'{{ x'", "text", "true", "- a", "x: 1", "[{}]", "*a", "{step: end}"]
)


@given(st.sampled_from(CORPUS), st.integers(0, 10_000), PIECES)
def test_a_playbook_with_any_value_swapped_is_read_or_refused(text: str, spot: int, piece: str) -> None:
    lines = text.splitlines()
    at = spot % len(lines)
    key, colon, _ = lines[at].partition(": ")
    lines[at] = key + colon + piece if colon else piece
    playbook, problems = check("\n".join(lines), KINDS)
    assert (playbook is None) == any(problem.severity == "error" for problem in problems)


WORDS = [
    "step", "tool", "kind", "next", "arcs", "spec", "when", "set", "loop", "in", "retry", "name",
    "input", "policy", "rules", "then", "else", "grow", "backoff", "noop", "start",
]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)


@given(ANYTHING, st.sampled_from(["workflow", "workbook", "step", "tool"]))
def test_any_structure_is_read_or_refused(data: Any, where: str) -> None:
    step: dict[str, Any] = {"step": "start", "tool": {"kind": "noop"}}
    if where == "tool":
        step["tool"] = {"kind": "noop", **data} if isinstance(data, dict) else data
    if where == "step":
        step = {**step, **data} if isinstance(data, dict) else data
    document: dict[str, Any] = {"apiVersion": "noetl.io/v2", "kind": "Playbook", "metadata": {"name": "t"}}
    document["workflow"] = [step]
    if where in ("workflow", "workbook"):
        document[where] = data
    playbook, problems = check(json.dumps(document), KINDS)
    assert (playbook is None) == any(problem.severity == "error" for problem in problems)
