"""Run the code of a python step, and answer with its result or its error.

Standard input brings the code and its data as `marshal`, written by the same interpreter; the file
descriptor that is the one argument takes the answer as JSON.
"""

from __future__ import annotations

import os
import sys
import types
from marshal import loads

from portcall.tool.inside.json_text import Encoder, ResultError, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing and collections.abc cost milliseconds
    from collections.abc import Callable
    from typing import Any

_STEP = "<step>"
_MESSAGE = 2_000
_TAKES_ANY = 0x08
"""CO_VARKEYWORDS of the inspect module."""


def main() -> None:
    answer_fd = int(sys.argv[1])
    os.set_inheritable(answer_fd, False)  # noqa: FBT003 - the standard library's signature
    with open(0, "rb", closefd=False) as stdin:
        job = loads(stdin.read())  # noqa: S302 - written by the parent
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.argv = [_STEP]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr] # always a TextIOWrapper here
    data = _answer(job).encode()
    while data:
        data = data[os.write(answer_fd, data) :]


def _answer(job: dict[str, Any]) -> str:
    try:
        return f'{{"result":{Encoder().text(_result(job))}}}'
    except ResultError as error:
        return f'{{"error":{{"kind":{quoted(error.kind)},"message":{quoted(str(error))}}}}}'
    except BaseException as error:  # noqa: BLE001 - whatever the code raised is the answer
        return _failure(error, job["code"])


def _result(job: dict[str, Any]) -> object:
    """A top-level `return` wins over `result`, which wins over `main()`."""
    inputs = job["input"]
    names = {"args": inputs, "input_data": inputs, "context": job["context"]}
    for lib in job["libs"]:
        _import_lib(lib, names)
    names.update(inputs)
    given = names.get("result")
    code, returns = _compiled(job["code"])
    # Code that defines main() is called below; a guarded call of its own would run it a second time.
    module = types.ModuleType("portcall_step" if _defines_main(code) else "__main__")
    module.__dict__.update(names)
    sys.modules[module.__name__] = module
    names = module.__dict__
    try:
        exec(code, names)  # noqa: S102 - the purpose of this process
        stopped, returned = names.pop("__portcall_body__")() if returns else (False, None)
        if returned is not None:
            return returned[0]
        function = names.get("main")
        if (
            stopped
            or names.get("result") is not given
            or not callable(function)
            or function is inputs.get("main")
        ):
            return names.get("result")
        return _awaited(_call_main(function, inputs, names))
    except SystemExit as error:
        if error.code:
            raise
        return names.get("result")


def _import_lib(lib: tuple[str, str, str], names: dict[str, Any]) -> None:
    bound, module, attribute = lib
    __import__(module)
    found = sys.modules[module]
    if attribute == "*":
        public = getattr(found, "__all__", None) or [name for name in vars(found) if not name.startswith("_")]
        names.update((name, getattr(found, name)) for name in public)
    elif attribute:
        if not hasattr(found, attribute):
            raise ImportError(f"cannot import name '{attribute}' from '{module}'")
        names[bound] = getattr(found, attribute)
    else:
        first = module.partition(".")[0]
        names[bound or first] = found if bound else sys.modules[first]


def _compiled(source: str) -> tuple[types.CodeType, bool]:
    """The code, and whether it had to become a function because of a top-level `return`."""
    try:
        return compile(source, _STEP, "exec", dont_inherit=True), False
    except SyntaxError as error:
        if "'return' outside function" not in str(error.msg):
            raise
    from portcall.tool.inside.toplevel import compiled

    return compiled(source, _STEP), True


# -- main() -----------------------------------------------------------------------------------


def _defines_main(code: types.CodeType) -> bool:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return any(
        const.co_name == "main" or (const.co_name == "__portcall_body__" and _defines_main(const))
        for const in inner
    )


def _call_main(function: Callable[..., object], inputs: dict[str, Any], names: dict[str, Any]) -> object:
    """Give main() the inputs that it names, or all of them if it takes `**anything`."""
    target: Any = function
    while hasattr(target, "__wrapped__"):
        target = target.__wrapped__
    code = getattr(target, "__code__", None)
    if code is None:
        return function()
    count = code.co_argcount
    positional = code.co_varnames[:count]
    keyword = code.co_varnames[count : count + code.co_kwonlyargcount]
    needed = {*positional[: count - len(target.__defaults__ or ())], *keyword} - set(
        target.__kwdefaults__ or ()
    )
    given = {name: inputs[name] for name in (*positional, *keyword) if name in inputs}
    given |= {name: names[name] for name in ("input_data", "args", "context") if name in needed - set(given)}
    missing = sorted(needed - set(given))
    if missing:
        raise TypeError(f"main() needs {', '.join(missing)}, which the step's input does not have")
    if code.co_flags & _TAKES_ANY:
        given = {**inputs, **given}
    first = [given.pop(name) for name in positional[: code.co_posonlyargcount] if name in given]
    return function(*first, **given)


def _awaited(result: object) -> object:
    if isinstance(result, types.CoroutineType):
        import asyncio

        return asyncio.run(result)
    return result


# -- errors -----------------------------------------------------------------------------------


def _failure(error: BaseException, source: str) -> str:
    """The error as the answer, with the line of the step's code; its traceback goes to the log."""
    line = _report(error, source)
    said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())[:_MESSAGE]
    name = type(error).__name__
    message = f"{name}: {said}" if said else name
    if line:
        message += f" (line {line} of the step's code)"
    return f'{{"error":{{"kind":"exception","code":{quoted(name)},"message":{quoted(message)}}}}}'


def _report(error: BaseException, source: str) -> int | None:
    """Print the traceback of the code's own frames; the line of the innermost of them."""
    import linecache
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != _STEP:
        trace = trace.tb_next
    linecache.cache[_STEP] = (len(source), None, source.splitlines(keepends=True), _STEP)
    traceback.print_exception(type(error), error, trace)
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _STEP:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is None and isinstance(error, SyntaxError) and error.filename == _STEP:
        line = error.lineno
    return line
