from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from portcall.errors import ToolError
from portcall.tool.inside.json_text import Encoder, ResultError
from portcall.tool.python import PythonConfig

Run = Callable[..., Any]


def error_of(python: Run, code: str, **inputs: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        python(code, **inputs)
    return caught.value


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("result = {'sum': x + 1}", {"sum": 42}),
        ("return x", 41),
        ("result = 1\nreturn 2", 2),
        ("def main(): return 'm'", "m"),
        ("def main(x): return x", 41),
        ("def main(x, y=1): return x + y", 42),
        ("def main(*, x): return x", 41),
        ("def main(x, /): return x", 41),
        ("def main(**all_of_it): return all_of_it", {"x": 41}),
        ("def main(input_data): return input_data", {"x": 41}),
        ("async def main(x): return x", 41),
        ("def main(): return 'm'\nresult = 'r'", "r"),
        ("def main(): return 'm'\nreturn 'r'", "r"),
        ("def main(): return 'm'\nreturn None", None),
        ("result = 1\nif x: return\nresult = 2", 1),
        ("x += 1\nresult = x", 42),
        ("result = [input_data['x'], args['x'], context['x']]", [41, 41, 41]),
        ("result = __name__", "__main__"),
        ("import sys\nresult = sys.stdin.read()", ""),
        ("raise SystemExit", None),
        ("result = 3\nexit(0)", 3),
        ("pass", None),
        ("def main(): return 1\nif __name__ == '__main__': result = 2", 1),
    ],
)
def test_where_the_result_comes_from(python: Run, code: str, data: Any) -> None:
    assert python(code, x=41) == data


@pytest.mark.parametrize(
    "code",
    [
        "total: int = 5\ndef double(): return total * 2\nreturn double()",
        "try:\n    return 10\nexcept:\n    return 'caught'",
        "for total in range(11): pass\ndef show(): return total\nreturn show()",
        "from __future__ import annotations\nimport os.path\ndef show(): return os.path and 10\nreturn show()",
        "def count():\n    global n\n    n = 10\ncount()\nreturn n",
        "with open('/dev/null') as f: pass\ndef show(): return f and 10\nreturn show()",
        "if (n := 10): pass\nlist(k for k in [1])\ndef show(): return n\nreturn show()",
        "match [1, 10]:\n    case [_, n]: pass\ndef show(): return n\nreturn show()",
        "class A:\n    n = 10\ndef show(): return A.n\nreturn show()",
        "global n\nn = 10\nreturn n",
        "x: int\nreturn 10",
        "return (lambda: 10)()",
    ],
)
def test_a_return_at_top_level_keeps_the_names_of_the_module(python: Run, code: str) -> None:
    assert python(code) == 10


def test_the_input_that_is_called_input_data_wins(python: Run) -> None:
    assert python("result = [input_data, args['x']]", input_data=5, x=1) == [5, 1]


def test_the_context_has_finished_steps(bench: Any) -> None:
    code = {"code": "result = [context['fetch']['rows'], context['x']]"}
    assert bench.run("python", code, inputs={"x": 1}, scope={"fetch": {"rows": 3}, "x": 0}) == [3, 1]


@pytest.mark.parametrize(
    "libs",
    [
        {"m": "math", "j": "json"},
        [{"m": "math"}, {"j": "json"}],
        ["os.path", {"from": "math", "import": "sqrt, pi"}, {"m": "math", "j": "json"}],
        [{"m": "math", "j": "json"}, {"from": "os", "import": ["path"]}],
    ],
)
def test_libs_are_imported_before_the_code(python: Run, libs: Any) -> None:
    assert python("result = j.dumps(m.sqrt(4))", config={"libs": libs}) == "2.0"


def test_a_missing_module_and_a_wrong_form_of_libs(python: Run) -> None:
    with pytest.raises(ToolError, match="ModuleNotFoundError: No module named 'nowhere_at_all'"):
        python("pass", config={"libs": {"n": "nowhere_at_all"}})
    with pytest.raises(ToolError, match="cannot import name 'nothing' from 'math'"):
        python("pass", config={"libs": {"from": "math", "import": "nothing"}})
    with pytest.raises(ValidationError):
        PythonConfig.model_validate({"code": "pass", "libs": {"from": "math"}})


def test_script_is_code_and_neither_is_rendered(bench: Any) -> None:
    assert bench.run("python", {"script": "result = '{{ x }}'"}) == "{{ x }}"


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (
            "__import__('datetime').datetime(2026, 1, 2, 3, tzinfo=__import__('datetime').UTC)",
            "2026-01-02T03:00:00+00:00",
        ),
        ("__import__('datetime').timedelta(minutes=1)", 60.0),
        ("__import__('decimal').Decimal('1.5')", 1.5),
        ("__import__('decimal').Decimal('12345678901234567890')", 12345678901234567890),
        ("__import__('uuid').UUID(int=1)", "00000000-0000-0000-0000-000000000001"),
        ("__import__('pathlib').Path('/a')", "/a"),
        ("{3, 1, 2}", [1, 2, 3]),
        ("(1, 2)", [1, 2]),
        ("b'text'", "text"),
        (r"b'\xff\xfe'", "//4="),
        ("range(3)", [0, 1, 2]),
        ("{1: 'a', None: 'b', True: 'c'}", {"1": "c", "null": "b"}),
        ("__import__('enum').Enum('Color', 'RED').RED", 1),
        ("__import__('dataclasses').make_dataclass('Point', ['x', 'y'])(1, {2})", {"x": 1, "y": [2]}),
        ("__import__('collections').Counter('aab')", {"a": 2, "b": 1}),
        ("type('float64', (), {'item': lambda self: 1.5})()", 1.5),
        ("type('ndarray', (), {'tolist': lambda self: [[1], [2]]})()", [[1], [2]]),
        ("type('NaTType', (), {'__module__': 'pandas'})()", None),
        (r"'\ud800'", "?"),
    ],
)
def test_values_that_json_does_not_have_are_converted(python: Run, value: str, data: Any) -> None:
    assert python(f"result = {value}") == data


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("result = {'users': [1, {'name': object()}]}", r"result\.users\[1\]\.name is of type object"),
        ("result = [float('nan')]", r"result\[0\] is nan"),
        ("result = {(1, 2): 3}", "result has a key of type tuple"),
        ("result = []\nresult.append(result)", "nested deeper than 200 levels, or contains itself"),
        ("result = print", "builtin_function_or_method"),
    ],
)
def test_a_result_that_is_not_json_says_what_and_where(python: Run, code: str, message: str) -> None:
    error = error_of(python, code)
    assert error.kind == "result"
    assert re.search(message, error.message)


def test_a_result_is_bounded_at_one_mebibyte(python: Run) -> None:
    assert len(python(f"result = 'x' * {(1 << 20) - 2}")) == (1 << 20) - 2
    assert error_of(python, f"result = 'x' * {(1 << 20) - 1}").kind == "too_large"
    assert error_of(python, "result = [0] * 600_000").kind == "too_large"


def test_an_exception_names_its_line_and_its_traceback_goes_to_the_log(python: Run, bench: Any) -> None:
    error = error_of(python, "def deep():\n    raise ValueError('bad')\n\ndeep()")
    assert error.message == "ValueError: bad (line 2 of the step's code)"
    assert (error.kind, error.code, error.retryable) == ("exception", "ValueError", False)
    log = "".join(bench.log)
    assert "line 4, in <module>\n    deep()" in log
    assert "portcall" not in log


def test_an_error_inside_a_library_is_told_by_the_line_of_the_step(python: Run) -> None:
    message = error_of(python, "import json\n\njson.loads('{')").message
    assert message.startswith("JSONDecodeError: ")
    assert message.endswith("(line 3 of the step's code)")


def test_a_syntax_error_names_its_line(python: Run) -> None:
    assert (
        error_of(python, "a = 1\nb = (").message
        == "SyntaxError: '(' was never closed (line 2 of the step's code)"
    )


def test_main_that_needs_more_than_the_input_has(python: Run) -> None:
    assert (
        "main() needs who, which the step's input does not have"
        in error_of(python, "def main(who): pass").message
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os\nos._exit(0)", "exit code 0 and no result"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_process_that_ends_without_a_result_is_a_failure(python: Run, code: str, message: str) -> None:
    assert message in error_of(python, code).message


def test_prints_go_to_the_log_and_what_was_written_is_flushed(python: Run, bench: Any) -> None:
    file = "f = open('f', 'w')\nf.write('kept')\n"
    python(file + "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.stdout.write('no newline')")
    assert "".join(bench.log) == "out\nerr\nno newline\n"
    assert (bench.workdir / "f").read_text() == "kept"


def test_the_process_sees_no_secrets_of_the_server(python: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTCALL_TOKEN", "hunter2")
    names = python("import os\nresult = sorted(os.environ)")
    assert set(names) <= {"PATH", "HOME", "LANG", "TMPDIR", "LC_CTYPE"}


def test_descriptors_of_the_server_are_not_inherited(python: Run) -> None:
    with Path("/dev/null").open() as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - the standard library's signature
        code = (
            "import os\nresult = [os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]"
        )
        links = python(code)
    assert sum(link == "/dev/null" for link in links) == 1  # standard input
    assert len(links) <= 6


def test_large_inputs_do_not_block(python: Run) -> None:
    assert python("result = len(text)", text="x" * 3_000_000) == 3_000_000


def test_a_timeout_kills_grandchildren_too(bench: Any, gone: Any) -> None:
    code = (
        "import subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
        "open('pid', 'w').write(str(child.pid))\ntime.sleep(600)"
    )
    with pytest.raises(ToolError) as caught:
        bench.run("python", {"code": code, "timeout": "1s"})
    assert caught.value.kind == "timeout"
    gone(int((bench.workdir / "pid").read_text()))


def test_a_cancelled_call_kills_its_process(bench: Any, gone: Any) -> None:
    async def cancel() -> int:
        begun = asyncio.Event()
        bench.log = _Telling(begun)
        code = "import os, time\nprint(os.getpid())\ntime.sleep(600)"
        task = asyncio.create_task(bench.start("python", {"code": code}))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int(bench.log[0])

    gone(asyncio.run(cancel()))


class _Telling(list[str]):
    def __init__(self, event: asyncio.Event) -> None:
        super().__init__()
        self._event = event

    def append(self, line: str) -> None:
        super().append(line)
        self._event.set()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_json_data_comes_through_unchanged(value: Any) -> None:
    assert json.loads(Encoder().text(value)) == value


def test_the_encoder_refuses_infinity() -> None:
    with pytest.raises(ResultError, match="result is inf"):
        Encoder().text(float("inf"))
