"""Templates that want too much end in an ExpressionError or a harmless value, and tell nothing of the scope."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.expression import ExpressionError, render
from portcall.expression import test as holds

LAUGHS = "{% set x = [1] %}" + "{% set x = [x,x,x,x,x,x,x,x,x,x] %}" * 12
REFUSED = {
    "deep brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "many brackets": "{{ " + "[" * 50_000 + "]" * 50_000 + " }}",
    "long sum": "{{ 1" + "+1" * 50_000 + " }}",
    "long minus": "{{ " + "-" * 50_000 + "1 }}",
    "long elif": "{% if 0 %}" + "{% elif 0 %}" * 20_000 + "{% endif %}",
    "hidden by raw": '{% raw %}{{ "{% endraw %}{{ "}}" ' + "+1" * 50_000 + " }}",
    "long text": "{{ 'a' * 10**9 }}",
    "huge range": "{{ range(10**9) }}",
    "range in every element": "{{ rows | map('attr', 'z') | map('default', range(9999)) | list }}",
    "data in every element": "{{ rows | map(attribute='z', default=rows) | list }}",
    "data in every gap": "{{ [1] | batch(100000, rows) | list }}",
    "repeated list": "{{ [1] * 10**8 }}",
    "repeated data": "{{ rows * 10**4 }}",
    "repeated nested data": "{{ ([rows]) * 10**5 }}",
    "repeated from the left": "{{ 10**8 * ([1]) }}",
    "repeated list to a filter": "{{ ([1] * 10**8) | shell_quote }}",
    "repeated list to a method": "{{ one.get([1] * 10**8) }}",
    "data many times": "{{ [" + "rows," * 1900 + "] | tojson | length }}",
    "data many times as text": "{{ [" + "rows," * 1900 + "] | string | length }}",
    "endless loop": "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
    "quiet loop": "{% for i in range(9999) %}{% for j in range(9999) %}{% set x = j %}{% endfor %}{% endfor %}",
    "macro recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "macro tree": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "loop recursion": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "a billion laughs": LAUGHS + "{{ x }}",
    "laughs to a filter": LAUGHS + "{{ x | shell_quote }}",
    "laughs by zip": "{% set x = [1] %}" + "{% set x = x | zip(x) | list %}" * 40 + "{{ x }}",
    "laughs by macro": "{% macro f(n, a) %}"
    "{% if n %}{{ f(n-1, [a, a]) }}{% endif %}{{ a }}{% endmacro %}{{ f(40, 1) }}",
    "laughs by namespace": "{% set n = namespace(x=1) %}"
    "{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "laughs by loop": "{% for a in [[rows,rows]] %}{% for b in [[a,a,a]] %}{{ b }}{% endfor %}{% endfor %}",
    "wide format": "{{ '{:1000000000}'.format(1) }}",
    "wide format in parts": "{{ '{:100' '0000000}'.format(1) }}",
    "wide format from data": "{{ wide.format(1) }}",
    "wide format from a format": "{{ '{:{}}'.format(1, 10**9) }}",
    "wide printf": "{{ '%1000000000d' | format(1) }}",
    "deep indent": "{{ rows | tojson(indent=10**10) }}",
    "deep indent in map": "{{ rows | map('tojson', indent=10**10) | list }}",
    "deep indent by a name": "{{ rows | map(filter, indent=10**10) | list }}",
    "compare in a loop": "{% for i in range(9999) %}{% set y = rows == others %}{% endfor %}",
    "search in a loop": "{% for i in range(9999) %}{% set y = absent in others %}{% endfor %}",
    "count in a loop": "{% for i in range(9999) %}{% set y = rows.count(5) %}{% endfor %}",
    "quote in a loop": "{% for i in range(9999) %}{% set y = rows | shell_quote %}{% endfor %}",
    "text in a loop": "{% for i in range(9999) %}{% set y = rows | string %}{% endfor %}",
    "json in a loop": "{% for i in range(9999) %}{% set y = rows | tojson %}{% endfor %}",
    "methods in a loop": "{% for i in range(9999) %}{% set y = table.values() %}{% endfor %}",
    "filters in a loop": "{% for i in range(9999) %}{% set y = '[1]' | fromjson | b64encode %}{% endfor %}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "private method": "{{ one.__class__() }}",
    "change data": "{{ one.pop('a') }}",
    "change list": "{{ rows.append(1) }}",
    "scope by debug": "{{ debug() }}",
}
SCOPE: dict[str, Any] = {
    "rows": [{"a": n} for n in range(10_000)],
    "one": {"a": 1},
    "absent": {"b": 2},
    "others": [{"a": n} for n in range(9_999)] + [{"b": 1}],
    "table": {str(n): n for n in range(10_000)},
    "wide": "{:1000000000}",
    "filter": "tojson",
}


def test_costly_and_forbidden_templates_are_refused_in_bounded_memory_and_processor_time() -> None:
    # In a process of its own: a crash of the engine would take the tests with it.
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('hostile', {__file__!r})\n"
        "hostile = importlib.util.module_from_spec(spec); spec.loader.exec_module(hostile)\n"
        "before = repr(hostile.SCOPE)\n"
        "for name, template in hostile.REFUSED.items():\n"
        "    print(name, flush=True)\n"
        "    error = hostile.failure(hostile.render, template, hostile.SCOPE)\n"
        "    if error is None or 'MemoryError' in str(error): sys.exit('not refused: ' + name)\n"
        "if repr(hostile.SCOPE) != before: sys.exit('the data were changed')\n"
    )

    def bounds() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    done = subprocess.run(
        [sys.executable, "-c", program], preexec_fn=bounds, capture_output=True, check=False, text=True
    )
    last = done.stdout.splitlines()[-1:]
    assert (done.returncode, done.stderr, last) == (0, "", [list(REFUSED)[-1]])


HARMLESS = [
    "{{ ''.__class__ }}",
    "{{ one.__class__.__mro__ }}",
    "{{ one['__class__'] }}",
    "{{ one | attr('__class__') }}",
    "{{ rows.append }}",
    "{{ one.pop }}",
    "{{ one.items }}",
    "{{ items }}",
    "{{ pop }}",
    "{{ __builtins__ }}",
    "{{ (one)._data }}",
    "{{ (one).data.a }}",
    "{{ (one).items }}",
    "{{ (one).get or (rows).count }}",
    "{{ items | default(none) }}",
    "{{ one and pop is defined }}",
    "{{ one and items }}",
    "{{ (rows).data }}",
    "{{ (one)['_budget'] }}",
    "{{ (items or keys or values or get) }}",
]


@pytest.mark.parametrize("template", HARMLESS)
def test_nothing_of_python_can_be_reached(template: str) -> None:
    assert render(template, SCOPE) in (None, False)
    assert holds(template, SCOPE) is False


NAMES = ["a", "b", "c.d", "c.e", "c['d']", "a[b]", "items", "c"]
PIECES = st.sampled_from([
    *NAMES, "1", "0", "10**9", "'x'", "none", "true", "[a, b]", "{'k': a}", "()", "range(3)", "'%s'",
])  # fmt: skip
JOINERS = st.sampled_from([
    " + ", " - ", " * ", " / ", " // ", " ** ", " ~ ", " == ", " < ", " in ", " and ", " is not ",
])  # fmt: skip
ENDS = st.sampled_from([
    "", "|int", "|float", "|upper", "|first", "|sort", "|sum", "|tojson", "|fromjson", "|b64decode", "|join(b)",
    "|length", "|map('upper')|list", "|list", "|replace(a, b)", "|nosuch", ".get(a)", "(a)", ".split(b)",
    ".nosuch(a)", "[a]", "[0:b]", "|round(a)", "|batch(a)|list", "|default(b)", "|groupby(a)", "|dictsort",
    "|items|list", "|shell_quote", "|format(a)", "|map(a)|list", "|selectattr(a)|list", " is divisibleby(b)",
    "|attr(a)", "|select(a)|list",
])  # fmt: skip
EXPRESSIONS = st.lists(st.tuples(PIECES, ENDS), min_size=1, max_size=4).flatmap(
    lambda parts: st.tuples(*[JOINERS] * (len(parts) - 1)).map(
        lambda joiners: "".join(
            piece + end + joiner for (piece, end), joiner in zip(parts, [*joiners, ""], strict=True)
        )
    )
)
SECRETS = st.sampled_from(["s3cr3t-value", "hunter2hunter2", "no such filter-name"])


@given(EXPRESSIONS, SECRETS, st.sampled_from(["whole", "text", "if"]))
def test_an_error_never_tells_a_value(expression: str, secret: str, form: str) -> None:
    template = {
        "whole": f"{{{{ {expression} }}}}",
        "text": f"x {{{{ {expression} }}}}",
        "if": f"{{% if {expression} %}}y{{% endif %}}",
    }[form]
    scope = {"a": secret, "b": 987654321987, "c": {"d": secret, "e": [secret, 987654321987]}}
    for evaluate in (render, holds):
        error = failure(evaluate, template, scope)
        if error is not None:
            assert secret not in str(error)
            assert "987654321987" not in str(error)
            assert error.__cause__ is None
            assert error.__suppress_context__ or error.__context__ is None


def failure(evaluate: Callable[..., object], template: str, scope: dict[str, Any]) -> ExpressionError | None:
    try:
        evaluate(template, scope)
    except ExpressionError as error:
        return error
    return None


@given(st.text(alphabet="{}%#-+ '\"\\abif.()[]|,:=*\n", max_size=60))
def test_any_text_renders_or_fails_plainly(text: str) -> None:
    failure(render, text, {"a": 1, "b": [1]})


def test_a_test_named_by_the_data_is_not_told() -> None:
    with pytest.raises(ExpressionError, match="there is no such test") as caught:
        render("{{ [1] | select(a) | list }}", {"a": "hunter2hunter2"})
    assert "hunter2" not in str(caught.value)
