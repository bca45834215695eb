"""A command of the playbook, in a process group of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import AliasChoices, Field, model_validator

from portcall.errors import ToolError
from portcall.observe.secrets import redact
from portcall.tool import process
from portcall.tool.config import Env, Text, Timeout, ToolConfig
from portcall.tool.port import Call, Done, Result, Services

_LIMIT = 256 * 1024
_SAID = 200


class ShellConfig(ToolConfig):
    command: Annotated[str, Field(min_length=1)] | Annotated[list[Text], Field(min_length=1)] | None = None
    """Text for the shell, or a list: a program and its arguments, run without a shell."""
    cmds: list[Text] | None = Field(default=None, min_length=1)
    """Commands for one shell, run in order; the first that fails ends it."""
    shell: str = Field(default="sh", min_length=1)
    """The shell, such as bash; it is called with -c."""
    cwd: str = ""
    """The directory it runs in; relative to that of the worker."""
    env: Env = Field(default_factory=dict)
    """Environment variables, beside PATH, HOME, LANG and TMPDIR: a map, or a list of {name, value}."""
    timeout_seconds: Timeout | None = Field(
        default=None, validation_alias=AliasChoices("timeout_seconds", "timeout")
    )
    """The command and all that it started is killed after this time: seconds, or a duration such as 10m."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.command is None) == (self.cmds is None):
            raise ValueError("Give one of command or cmds")
        return self


class Shell:
    kind: ClassVar[str] = "shell"
    Config: ClassVar[type[ShellConfig]] = ShellConfig
    raw: ClassVar[frozenset[str]] = frozenset()

    async def start(self, call: Call, services: Services) -> Result:
        config = ShellConfig.model_validate(call.config)
        program = process.Program(
            argv=_argv(config),
            cwd=os.path.join(services.workdir, config.cwd),  # noqa: PTH118 - joins text for the process
            env={**process.clean_environment(), **config.env},
        )
        out, err = _Captured(services.log), _Captured(services.log)
        try:
            ended = await process.run(program, config.timeout_seconds, out.feed, err.feed)
        finally:
            out.close()
            err.close()
        data = _data(ended, out, err)
        if ended.timed_out:
            raise ToolError(
                f"The command ran longer than its timeout of {config.timeout_seconds:g} s and was killed with "
                "all that it had started; make it faster, or raise timeout_seconds.",
                kind="timeout",
                retryable=True,
                data=data,
            )
        if ended.code:
            raise ToolError(_why(ended, data), kind="exit_code", code=data["exit_code"], data=data)
        return Done(data=data)


class _Captured:
    """One stream: to the log as it comes, and its end for the result."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._lines = process.Lines(log)
        self.tail = process.Tail(_LIMIT)

    def feed(self, chunk: bytes) -> None:
        self._lines.feed(chunk)
        self.tail.feed(chunk)

    def close(self) -> None:
        self._lines.close()


def _argv(config: ShellConfig) -> list[str]:
    if isinstance(config.command, list):
        return config.command
    script = config.command
    if script is None:
        # On lines of their own, so that a comment at the end of one cannot swallow the next.
        script = " &&\n".join(f"{{\n{command}\n}}" for command in config.cmds or ())
    return [config.shell, "-c", script]


def _data(ended: process.Ended, out: _Captured, err: _Captured) -> dict[str, Any]:
    """A command that a signal ended has 128 and the signal's number, as shells say it.

    What it wrote is kept in the log of facts, so known secrets are blanked: `set -x` and `curl -v` show them.
    """
    data: dict[str, Any] = {
        "exit_code": ended.code if ended.code >= 0 else 128 - ended.code,
        "stdout": redact(out.tail.text()),
        "stderr": redact(err.tail.text()),
    }
    for name, stream in (("stdout", out), ("stderr", err)):
        if stream.tail.cut:
            data[f"{name}_truncated"] = True
    return data


def _why(ended: process.Ended, data: dict[str, Any]) -> str:
    how = f"was killed by {ended.signal_name}" if ended.signal_name else f"ended with exit code {ended.code}"
    last = data["stderr"].rstrip().rpartition("\n")[2].strip()[:_SAID]
    return f"The command {how}: {last}" if last else f"The command {how}; its output is in the step's log."
