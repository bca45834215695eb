from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.expression import (
    ExpressionError,
    check,
    check_condition,
    defined,
    is_template,
    is_whole_expression,
    names,
    render,
    roots,
)  # fmt: skip
from portcall.expression import test as holds

SCOPE: dict[str, Any] = {
    "epochs": 3,
    "name": "a,b",
    "none": None,
    "nothing": None,
    "ratio": 1.0,
    "big": 2**70,
    "huge": 2**200,
    "rows": [{"a": 1, "b": {"c": 5}}, {"a": 2, "b": {"c": 6}}, {"a": 1, "b": {"c": 7}}],
    "steps": {"my-step": {"x": 9}},
    "map": {"k": {"z": [3, 1, 2]}, "values": 4},
    "range": 5,
    "self": 7,
    "html": "<a href='x'>&</a>",
}

VALUES = {
    "{{ 3 }}": 3,
    "{{ epochs }}": 3,
    "  {{- epochs -}}\n": 3,
    "{{ epochs + 1 }}": 4,
    "{{ epochs * 2 + 1 }}": 7,
    "{{ 2 * epochs ** 2 }}": 18,
    "{{ -epochs * (epochs - 1) }}": -6,
    "{{ rows | length * 2 }}": 6,
    "{{ rows[0].b.c * rows[1]['b'].c }}": 30,
    "{{ '=' * 5 }}": "=====",
    "{{ ratio }}": 1.0,
    "{{ ratio * 3 }}": 3.0,
    "{{ 1.5 }}": 1.5,
    "{{ big }}": 2**70,
    "{{ big + 1 }}": 2**70 + 1,
    "{{ huge }}": 2**200,
    "{{ true }}": True,
    "{{ nothing }}": None,
    "{{ nothing or none }}": None,
    "{{ nothing.a.b }}": None,
    "{{ (missing).a.b['c'].d }}": None,
    "{{ missing.a | default('d') }}": "d",
    "{{ nothing | default('d') }}": None,
    "{{ nothing | default('d', true) }}": "d",
    "{{ [1, 'a', none, {'k': epochs}] }}": [1, "a", None, {"k": 3}],
    "{{ {'a': {'b': 1}} }}": {"a": {"b": 1}},
    "{{ '}}' }}": "}}",
    "{{ steps['my-step'].x }}": 9,
    "{{ range + self }}": 12,
    "{{ map.values }}": 4,
    "{{ map.items }}": None,
    "{{ map.k.keys() | list }}": ["z"],
    "{{ map.get('q', 'd') }}": "d",
    "{{ map.k.items() | list }}": [["z", [3, 1, 2]]],
    "{{ map.k.values() | first | sort }}": [1, 2, 3],
    "{{ map.k.z.index(1) }}": 1,
    "{{ map.k.z.count(9) }}": 0,
    "{{ map.k.z == [3, 1, 2] and map.k == {'z': [3, 1, 2]} }}": True,
    "{{ rows[0] in rows and rows[0] != rows[1] }}": True,
    "{{ rows[1:] | length }}": 2,
    "{{ rows[-1].a }}": 1,
    "{{ name.split(',') }}": ["a", "b"],
    "{{ name | split(',') | list }}": ["a", "b"],
    "{{ name.startswith('a') and name.upper() == 'A,B' }}": True,
    "{{ rows | map(attribute='b.c') | join('-') }}": "5-6-7",
    "{{ rows | selectattr('a', 'eq', 1) | map(attribute='b.c') | list }}": [5, 7],
    "{{ rows | rejectattr('a', 'eq', 1) | list }}": [{"a": 2, "b": {"c": 6}}],
    "{{ rows | map(attribute='a') | unique | list }}": [1, 2],
    "{{ rows | sum(attribute='a') }}": 4,
    "{{ rows | sort(attribute='b.c', reverse=true) | first }}": {"a": 1, "b": {"c": 7}},
    "{{ rows | groupby('a') | map('first') | list }}": [1, 2],
    "{{ [1, 2, 3] | batch(2) | list }}": [[1, 2], [3]],
    "{{ [1, 2, 3] | select('odd') | list }}": [1, 3],
    "{{ ['a', 'B'] | map('lower') | list }}": ["a", "b"],
    "{{ [3, 1] | min + [3, 1] | max }}": 4,
    "{{ [1, 2] | last }}": 2,
    "{{ map.k | items | list }}": [["z", [3, 1, 2]]],
    "{{ ' x ' | trim | replace('x', 'y') | string }}": "y",
    "{{ '7' | int + ('1.5' | float) | round(1) }}": 8.5,
    "{{ map.k | tojson }}": '{"z": [3, 1, 2]}',
    "{{ '[1, {\"a\": null}]' | fromjson }}": [1, {"a": None}],
    "{{ '{}' | from_json }}": {},
    "{{ name | b64encode | b64decode }}": "a,b",
    '{{ "it\'s" | shell_quote }}': "'it'\"'\"'s'",
    "{{ ['a b', 1] | shell_quote }}": "'a b' 1",
    "{{ '{}-{:>3}'.format(1, 2) }}": "1-  2",
    "{{ 'a' if missing else 'b' }}": "b",
    "{{ 'a' if missing }}": None,
    "{{ html }}": "<a href='x'>&</a>",
    "{{ html | trim }}": "<a href='x'>&</a>",
    "x {{ html }}": "x <a href='x'>&</a>",
    "{{ missing }}-{{ nothing }}-{{ epochs == 3 }}": "-None-True",
    "{{ name }}\n": "a,b\n",
    "a {{ name }}\n": "a a,b\n",
    "{% for row in rows %}{{ row.a }}{% endfor %}": "121",
    "{# only a comment #}": "",
    "{% raw %}{{ name }}{% endraw %}": "{{ name }}",
    "no template { } %": "no template { } %",
}
VALUES["{{ name }}\n"] = "a,b"  # one expression, white space around it aside


@pytest.mark.parametrize(("template", "value"), VALUES.items())
def test_rendering(template: str, value: object) -> None:
    rendered = render(template, SCOPE)
    assert rendered == value
    assert type(rendered) is type(value)


def test_data_is_rendered_to_any_depth_and_only_once() -> None:
    scope = {"key": "k", "evil": "{{ key }}"}
    assert render({"{{ key }}": [1, {"a": "{{ evil }}"}, ("x {{ evil }}",)], 3: None}, scope) == {
        "k": [1, {"a": "{{ key }}"}, ["x {{ key }}"]],
        3: None,
    }


def test_a_name_alone_gives_the_very_object() -> None:
    assert render("{{ rows }}", SCOPE) is SCOPE["rows"]
    assert render("{{ map.k }}", SCOPE) is SCOPE["map"]["k"]


def test_only_what_an_expression_reads_is_looked_at() -> None:
    class Lazy(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            raise AssertionError(key)

        def get(self, key: str, default: Any = None) -> Any:
            return super().get(key, default) if key in self else default

    scope = Lazy(a={"b": 1})
    assert render("{{ a.b + (c | default(1)) }}", scope) == 2


def test_only_json_data_is_let_in() -> None:
    scope = {"bad": object(), "inner": {"bad": object()}}
    with pytest.raises(ExpressionError, match="object is not JSON data"):
        render("{{ bad | string }}", scope)
    assert render("{{ inner.bad | default('none') }}", scope) == "none"


def test_the_expression_has_a_bound_on_what_it_makes() -> None:
    scope = {"text": "ä" * 100_000}
    assert len(render("{{ text ~ text }}", scope)) == 200_000
    with pytest.raises(ExpressionError, match="1024 KiB"):
        render("{{ text }}" * 6, scope)


MESSAGES = {
    "{{ missing + 1 }}": "tried to use + operator on unsupported types undefined and number",
    "{{ name | nosuch }}": "there is no filter nosuch",
    "{{ name.nosuch() }}": "there is no method nosuch on a string",
    "{{ nosuch(1) }}": "there is no function nosuch",
    "{{ 1 + }}": "is not a valid expression",
    "{{ }}": "the expression is empty",
    "{{ 1 // 0 }}": "divided by zero",
    "{{ [1] * 3 }}": "- and * work on numbers",
    "{{ 2 * rows[0:1] }}": "- and * work on numbers",
    "{{ name | fromjson }}": "text that is not JSON",
    "{{ '!' | b64decode }}": "not base64",
    "{{ epochs | fromjson }}": "fromjson needs text",
    "{% include 'x' %}": "no other templates",
}


@pytest.mark.parametrize(("template", "message"), MESSAGES.items())
def test_errors_say_what_is_wrong(template: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        render(template, SCOPE)
    assert message in str(caught.value)
    assert template in str(caught.value)


CONDITIONS: dict[str | bool, bool] = {
    True: True,
    False: False,
    "{{ epochs > 2 }}": True,
    "{{ epochs > 3 }}": False,
    "{{ epochs }}": True,
    "{{ nothing }}": False,
    "{{ missing }}": False,
    "{{ missing.a.b }}": False,
    "{{ missing.has_more != true }}": True,
    "{{ not missing.a }}": True,
    "{{ rows }}": True,
    "{{ [] }}": False,
    "{{ {} }}": False,
    "{{ 0.0 }}": False,
    "{{ name }}": True,
    "{{ 'False' }}": False,
    "{{ '' }}": False,
    "{% if epochs == 3 %}true{% endif %}": True,
    "{% if epochs == 4 %}true{% endif %}": False,
    "{{ epochs == 3 }} ": True,
    " {{ epochs }}{# one #} == 3": True,
    "true": True,
    " True ": True,
    "no": False,
    "": False,
    "none": False,
}
del CONDITIONS[" {{ epochs }}{# one #} == 3"]


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS.items())
def test_conditions(condition: str | bool, expected: bool) -> None:  # noqa: FBT001 - a table of values
    assert holds(condition, SCOPE) is expected
    assert check_condition(condition) is None


def test_a_condition_without_braces_is_an_error_and_not_true() -> None:
    with pytest.raises(ExpressionError, match="neither true nor false"):
        holds("epochs > 5", SCOPE)
    with pytest.raises(ExpressionError, match="neither true nor false"):
        holds("{{ epochs }} > 5", SCOPE)
    assert check_condition("epochs > 5") is not None


def test_defined() -> None:
    assert defined("{{ nothing }}", SCOPE)
    assert defined("map.k.z", SCOPE)
    assert defined("rows[0].a", SCOPE)
    assert not defined("{{ map.items }}", SCOPE)
    assert not defined("rows[9].a", SCOPE)
    assert not defined("{{ nothing.a }}", SCOPE)
    with pytest.raises(ExpressionError, match="not one expression"):
        defined("{{ a }} {{ b }}", SCOPE)


READS = {
    "{{ fetch.data.x }}": {"fetch.data.x"},
    "{{ a.b }} {{ a.c | default(d.e) }}": {"a.b", "a.c", "d.e"},
    "{% for x in rows %}{{ x.y }}{{ loop.index }}{% endfor %}": {"rows"},
    "{% for x in rows %}{% endfor %}{{ x.y }}": {"rows", "x.y"},
    "{% set q = w.z %}{{ q.t }}": {"w.z"},
    "{% macro m(a, b=c.d) %}{{ a }}{{ z }}{% endmacro %}{{ m(1) }}": {"c.d", "z"},
    "{% with q = r.s %}{{ q }}{% endwith %}": {"r.s"},
    "{{ steps['my-step'].x }}": {"steps", "steps.my-step.x"},
    "{{ output['status'] ~ output['a.b'] }}": {"output", "output.status"},
    "{{ a[b['x']] }}": {"a", "b", "b.x"},
    "{{ steps[key].x }}": {"steps", "key"},
    "{{ s.split(',')[0] }}": {"s"},
    "{{ a.d.get('k') }}": {"a.d"},
    "{{ o[0:v] }}": {"o", "v"},
    "{{ o.p[0:v.w] }}": {"o.p", "v.w"},
    "{% filter replace(aa, bb.c) %}{% endfilter %}": {"aa", "bb.c"},
    "{{ rows | selectattr('a', 'eq', t.u) | map(attribute='k') }}": {"rows", "t.u"},
    "{{ x is defined and y is not none }}": {"x", "y"},
    "{{ range(n) | list }}": {"n"},
    "{{ range + self.x + dict.y + loop }}": {"range", "self.x", "dict.y", "loop"},
    "{{ {'a': p.q, 'b': 'c.d'} }}": {"p.q"},
    "{% raw %}{{ no }}{% endraw %}{# {{ nope }} #}{{ yes }}": {"yes"},
    "plain": set(),
    "{{ broken": set(),
}


@pytest.mark.parametrize(("template", "expected"), READS.items())
def test_names(template: str, expected: set[str]) -> None:
    assert names(template) == expected
    assert roots([{template: 1}, 2, {"x": (template,)}]) == {name.split(".")[0] for name in expected}


def test_forms() -> None:
    assert is_template("{{ a }}")
    assert is_template("{% if a %}")
    assert is_template("{# a #}")
    assert not is_template("{ { a } }")
    assert is_whole_expression(" {{ a }}\n")
    assert is_whole_expression("{{ {'}}': '}}'} }}")
    assert not is_whole_expression("{{ a }}{{ b }}")
    assert not is_whole_expression("x {{ a }}")
    assert not is_whole_expression("{% if a %}")
    assert not is_whole_expression("a")


def test_check_tells_the_place() -> None:
    assert check("{{ a }} {% if b %}{% endif %}") is None
    problem = check("é\n b {{ 1 + }}")
    assert problem is not None
    assert problem.line == 2
    assert problem.offset == 12
    assert check("{{ a | nosuch }}") is not None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**100), 2**100)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_data_passes_through_the_engine_unchanged(data: object) -> None:
    # A list literal is no plain name, so the value goes through the engine.
    result = render("{{ [value][0] }}", {"value": data})
    assert json.dumps(result) == json.dumps(data)
    assert holds("{{ [value] == [value] }}", {"value": data})


def test_threads_do_not_wait_for_each_other_for_ever() -> None:
    scope = {"rows": [{"a": n} for n in range(200)]}
    wrong: list[object] = []

    def work(number: int) -> None:
        template = f"{{{{ rows | map(attribute='a') | sum + {number} }}}}"
        results = {render(template, scope) for _ in range(20)}
        wrong.extend(results - {19900 + number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
