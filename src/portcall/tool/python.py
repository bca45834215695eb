"""Python code of the playbook, in an interpreter of its own; the package `inside` is what runs there."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema

from portcall.errors import ToolError
from portcall.tool import process
from portcall.tool.config import Timeout, ToolConfig, wrong
from portcall.tool.port import Call, Done, Result, Services

_SOURCE = str(Path(__file__).parents[2])
_RUNNER = f"import sys; sys.path.append({_SOURCE!r}); from portcall.tool.inside.step import main; main()"
_LIMIT = (1 << 20) + 4_096
"""Bytes of an answer: the bound of the result, and its envelope."""

Lib = tuple[str, str, str]
"""The name to bind (empty: the module's first), the module, and the name in it (empty: the module)."""


def libs_of(value: Any) -> list[Lib]:
    """`{np: numpy}`, `{from: math, import: [sqrt]}`, `json`, or a list of these."""
    if value is None:
        return []
    if isinstance(value, str):
        return [("", value, "")]
    if isinstance(value, list):
        return [lib for item in value for lib in ([item] if isinstance(item, tuple) else libs_of(item))]
    if isinstance(value, Mapping):
        return _from_import(value) if "from" in value else _modules(value)
    raise wrong("a map of names to modules, {from, import}, or a list of these")


def _from_import(value: Mapping[Any, Any]) -> list[Lib]:
    names = value.get("import")
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    if not set(value) <= {"from", "import"} or not isinstance(names, list) or not names:
        raise wrong("{from: module, import: name or list of names}")
    if not all(isinstance(name, str) for name in (value["from"], *names)):
        raise wrong("{from: module, import: name or list of names}")
    return [(name, value["from"], name) for name in names]


def _modules(value: Mapping[Any, Any]) -> list[Lib]:
    if not all(isinstance(name, str) and isinstance(module, str) for name, module in value.items()):
        raise wrong("a map of names to modules, such as {np: numpy}")
    return [(name, module, "") for name, module in value.items()]


Libs = Annotated[
    list[Lib],
    BeforeValidator(libs_of),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "array"}, {"type": "string"}]}),
]


class PythonConfig(ToolConfig):
    code: str = Field(validation_alias=AliasChoices("code", "script"))
    """The code. Its result is what it returns at top level, sets as `result`, or returns from `main()`.
    Inputs are variables; `input_data` and `args` hold them all, `context` also the finished steps."""
    libs: Libs = Field(default_factory=list)
    """Modules to import before the code: {name: module}, {from: module, import: name}, or a list of these."""
    timeout_seconds: Timeout | None = Field(
        default=None, validation_alias=AliasChoices("timeout_seconds", "timeout")
    )
    """The process is killed after this time: seconds, or a duration such as 10m."""


class Python:
    kind: ClassVar[str] = "python"
    Config: ClassVar[type[PythonConfig]] = PythonConfig
    raw: ClassVar[frozenset[str]] = frozenset({"code", "script"})

    async def start(self, call: Call, services: Services) -> Result:
        config = PythonConfig.model_validate(call.config)
        with _memory("input", _job(call, config)) as data, _memory("answer") as answer:
            program = process.Program(
                argv=[sys.executable, "-I", "-X", "utf8", "-c", _RUNNER, str(answer.fileno())],
                cwd=services.workdir,
                env=process.clean_environment(),
                stdin=data.fileno(),
                pass_fds=(answer.fileno(),),
            )
            lines = process.Lines(services.log)
            try:
                ended = await process.run(program, config.timeout_seconds, lines.feed)
            finally:
                lines.close()
            answer.seek(0)
            said = answer.read(_LIMIT + 1)
        if ended.timed_out:
            raise ToolError(
                f"The code ran longer than its timeout of {config.timeout_seconds:g} s and was killed; make it "
                "faster, or raise timeout_seconds.",
                kind="timeout",
                retryable=True,
            )
        return Done(data=_result(said, ended))


def _memory(name: str, content: bytes = b"") -> Any:
    """A nameless file in memory: unlike a pipe it never blocks, whatever its size."""
    file = os.fdopen(os.memfd_create(f"portcall-{name}"), "w+b", buffering=0)
    view = memoryview(content)
    while view:
        view = view[file.write(view) or 0 :]
    file.seek(0)
    return file


def _job(call: Call, config: PythonConfig) -> bytes:
    inputs = dict(call.input)
    # `context` may be everything there is: it is handed over only to code that names it.
    wanted = "context" in config.code
    job = {
        "code": config.code,
        "libs": config.libs,
        "input": inputs,
        "context": {**call.scope, **inputs} if wanted else inputs,
    }
    try:
        return marshal.dumps(job)
    except ValueError as error:
        raise ToolError(
            f"Step {call.step}: an input of the code is not JSON data; pass text, numbers, lists or maps.",
            kind="config",
        ) from error


def _result(said: bytes, ended: process.Ended) -> Any:
    if len(said) > _LIMIT:
        raise ToolError(
            "The result of the code is larger than 1 MiB; return where it is instead.", kind="too_large"
        )
    try:
        answer = msgspec.json.decode(said)
    except msgspec.DecodeError as error:
        raise ToolError(_without_answer(ended), kind="exception", code=ended.code) from error
    failure = answer.get("error")
    if failure is None:
        return answer["result"]
    raise ToolError(failure["message"], kind=failure["kind"], code=failure.get("code"))


def _without_answer(ended: process.Ended) -> str:
    if ended.signal_name == "SIGKILL":
        return "The process of the code was killed (SIGKILL), as happens when the machine is out of memory."
    if ended.signal_name:
        return (
            f"The process of the code crashed with {ended.signal_name}; a compiled extension may be at fault."
        )
    return f"The code's process ended with exit code {ended.code} and no result; do not call os._exit()."
