"""The values an expression sees: exactly those it names, in the shape the playbook language gives them.

Nearer names win: the loop's, the list's tools, the step's input, finished steps, workload keys, and
last the built-in names, so that a workload key may shadow a built-in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from portcall.errors import ExpressionError
from portcall.expression import INSIDE
from portcall.model.event import Error
from portcall.model.state import ExecutionState, Frame, StepRun, frame_result
from portcall.playbook.model import Step

LOOP_NAMES = frozenset({"item", "_index", "loop_index", "_total", "iter"})
_ENVELOPE = frozenset({"status", "data", "error", "ref", "http"})


class Output(msgspec.Struct, frozen=True):
    """What a call, a loop or a step came to, for `output`, `error` and `event`."""

    ok: bool
    data: Any
    error: Error | None
    event: str = "call.done"
    results: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Data of each tool of a list, by name; data that are a map have them themselves."""

    @property
    def status(self) -> str:
        return "success" if self.ok else "error"


def error_view(error: Error | None) -> dict[str, Any] | None:
    return None if error is None else msgspec.to_builtins(error)


def _reads_inside(root: str, names: frozenset[str] | None) -> bool:
    return names is not None and any(name.startswith(root + ".") for name in names)


def _reads(path: str, names: frozenset[str]) -> bool:
    return path in names or _reads_inside(path, names)


def step_view(root: str, output: Output, names: frozenset[str] | None) -> Any:
    """A finished step by its name: its data, and those fields of its envelope that are read.

    The data's own fields win, so that `<step>.data` is the result's own key `data` if it has one.
    """
    envelope = {"status": output.status, "error": error_view(output.error), "data": output.data}
    if output.results:
        envelope["results"] = dict(output.results)
    if names is not None:
        envelope = {key: value for key, value in envelope.items() if _reads(f"{root}.{key}", names)}
    if isinstance(output.data, dict):
        return {**envelope, **output.data}
    return output.data if names is None or not envelope else envelope


def output_view(output: Output, names: frozenset[str] | None) -> Any:
    """`output` on its own is the data; with a field it is the envelope, then the data's own fields."""
    if not _reads_inside("output", names):
        return output.data
    view: dict[str, Any] = {
        "status": output.status,
        "data": output.data,
        "error": error_view(output.error),
        "ref": None,
        "http": {"status": _http_status(output)},
    }
    if output.results:
        view["results"] = dict(output.results)
    if isinstance(output.data, dict):
        view.update((key, value) for key, value in output.data.items() if key not in _ENVELOPE)
    return view


def _http_status(output: Output) -> int | None:
    if output.error is not None:
        return output.error.status
    return output.data.get("status_code") if isinstance(output.data, dict) else None


class Scope(msgspec.Struct, frozen=True):
    """Where an expression stands: in an execution, maybe in a step run and one of its passes."""

    state: ExecutionState
    step: Step | None = None
    run: StepRun | None = None
    frame: Frame | None = None
    output: Output | None = None
    input: Mapping[str, Any] | None = None
    """An `ExpressionError` in place of a value is raised when that value is read."""
    ended: bool = False
    """Whether the step itself counts as finished, with `output` as its result."""

    def values(self, names: frozenset[str] | None) -> dict[str, Any]:
        """What the dotted `names` reach; with None everything there is.

        A name that is read both by itself and by its fields may stand for two things, the data and
        the envelope around them: the second is then under the name with a dot (see `INSIDE`).
        """
        roots = self._all_roots() if names is None else {name.split(".", 1)[0] for name in names}
        found: dict[str, Any] = {}
        for root in roots:
            value = self._lookup(root, names)
            if value is _MISSING:
                continue
            found[root] = value
            if names is not None and root in names and _reads_inside(root, names):
                alone = self._lookup(root, frozenset({root}))
                if alone is not value:
                    found[root], found[root + INSIDE] = alone, value
        return found

    def _lookup(self, root: str, names: frozenset[str] | None) -> Any:
        value = self._near(root, names)
        if value is not _MISSING:
            return value
        value = self._finished(root, names)
        if value is not _MISSING:
            return value
        if root in self.state.workload:
            return self.state.workload[root]
        return self._builtin(root, names)

    def _near(self, root: str, names: frozenset[str] | None) -> Any:
        value = self._loop(root)
        if value is not _MISSING:
            return value
        if self.frame is not None:
            if root in self.frame.names:
                return self.frame.names[root]
            if root in self.frame.results:
                error = self.frame.errors.get(root)
                return step_view(root, Output(error is None, self.frame.results[root], error), names)
        if self.input is not None and root in self.input:
            return _readable(self.input[root])
        return _MISSING

    def _loop(self, root: str) -> Any:
        loop = self.run.loop if self.run else None
        if loop is None or self.frame is None or self.frame.iteration is None or self.step is None:
            return _MISSING
        iterator = self.step.loop.iterator if self.step.loop else "item"
        index = self.frame.iteration
        if root in (iterator, "item"):
            return loop.items[index]
        if root == "iter":
            return {iterator: loop.items[index], "index": index, **self.frame.iter}
        if root in ("_index", "loop_index"):
            return index
        return len(loop.items) if root == "_total" else _MISSING

    def _finished(self, name: str, names: frozenset[str] | None) -> Any:
        if self.ended and self.step is not None and name == self.step.name and self.output is not None:
            return step_view(name, self.output, names)
        step = self.state.steps.get(name)
        if step is None or not step.finished or step.skipped:
            return _MISSING
        return step_view(
            name, Output(ok=step.ok, data=step.data, error=step.error, results=step.results), names
        )

    def _steps(self, names: frozenset[str] | None) -> dict[str, Any]:
        wanted: set[str] | None = None
        if names is not None and "steps" not in names:
            wanted = {name.split(".")[1] for name in names if name.startswith("steps.")}
        inner = None if names is None else frozenset(n[6:] for n in names if n.startswith("steps."))
        every = set(self.state.steps) | ({self.step.name} if self.step and self.ended else set())
        views = {name: self._finished(name, inner) for name in sorted(every if wanted is None else wanted)}
        return {name: view for name, view in views.items() if view is not _MISSING}

    def _builtin(self, root: str, names: frozenset[str] | None) -> Any:  # noqa: PLR0911 - a table of names
        match root:
            case "workload":
                return self.state.workload
            case "ctx":
                return self.state.ctx
            case "step":
                return self.run.vars if self.run else {}
            case "iter":
                return self.frame.iter if self.frame else {}
            case "input":
                return _MISSING if self.input is None else self._input(names)
            case "steps":
                return self._steps(names)
            case "execution_id":
                return int(self.state.execution_id)
            case "_attempt":
                return self.frame.attempt if self.frame else 1
        return self._of_output(root, names)

    def _input(self, names: frozenset[str] | None) -> Any:
        given = self.input or {}
        if names is None or "input" in names:
            return {key: _readable(value) for key, value in given.items()}
        wanted = {name.split(".")[1] for name in names if name.startswith("input.")}
        return {key: _readable(value) for key, value in given.items() if key in wanted}

    def _of_output(self, root: str, names: frozenset[str] | None) -> Any:
        if self.output is None:
            return _MISSING
        match root:
            case "output":
                return output_view(self.output, names)
            case "error":
                return error_view(self.output.error)
            case "event":
                return {"name": self.output.event, "status": self.output.status}
        return _MISSING

    def _all_roots(self) -> set[str]:
        roots = {"workload", "ctx", "step", "steps", "execution_id", "_attempt"} | set(self.state.workload)
        roots |= {name for name, step in self.state.steps.items() if step.finished and not step.skipped}
        if self.frame is not None:
            roots |= set(self.frame.names) | set(self.frame.results) | LOOP_NAMES
        if self.step is not None and self.step.loop is not None:
            roots.add(self.step.loop.iterator)
        return roots


def of_frame(frame: Frame) -> Output:
    """What a pass came to."""
    return Output(ok=frame.ok, data=frame_result(frame), error=frame.error, results=frame.results)


def _readable(value: Any) -> Any:
    if isinstance(value, ExpressionError):
        raise value
    return value


class _Missing:
    pass


_MISSING: Any = _Missing()
