"""The language, sentence by sentence: playbooks in `cases/`, each with what must come of it.

A file holds any number of playbooks, as YAML documents. `x-expect` at the root of one says what must be:

    given: {...}         the caller's values; `url` and `dir` are given to a playbook that names them
    credentials: {...}   by name
    cli: true            run it by `portcall run --json`, too
    status: completed    of the execution; the default
    exit_code: 1         of `portcall run`; the default follows from the status
    error: {...}         the execution's
    steps: {name: {...}} status, data, error, runs, attempts ... of a step; null: it was skipped
    order: [...]         the steps that were entered, in this order
    calls: {name: 3}     how many calls were issued
    log: {name: [...]}   text in the log of a step
    notes: [...]         text in the notes of the checker
    refused: [...]       text in the problems of the checker, which must refuse it
    nowhere: [...]       text that no event, log record or error may hold

What is expected is a part of what must be there: maps may have more keys, all else is equal, numbers and
booleans told apart. Text that begins with `~` is a regular expression to be found; `!missing` is no key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from portcall import app
from portcall.local import Local
from portcall.model import event as e
from portcall.model.api import ExecutionView, StartRequest
from portcall.observe import secrets
from portcall.playbook import PlaybookError

from .server import Server, serving

CASES = Path(__file__).parent / "cases"
EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 1}
SECONDS = 60
TOLD = {"status", "data", "attempts", "outcome"}
"""What `run --json` tells of a step."""


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    expect: dict[str, Any]

    def workload(self, server: Server, folder: Path) -> dict[str, Any]:
        near = {"url": server.url, "dir": str(folder)}
        named = {key: value for key, value in near.items() if f"workload.{key}" in self.text}
        return {**named, **self.expect.get("given", {})}


def read_cases() -> Iterator[Case]:
    for file in sorted(CASES.glob("*.yaml")):
        for text in re.split(r"^---\n", file.read_text(), flags=re.MULTILINE):
            data = yaml.safe_load(text)
            if data:
                yield Case(f"{file.stem}-{data['metadata']['name']}", text, data["x-expect"] or {})


CASE = list(read_cases())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    secrets.forget_secrets()


def test_no_two_cases_have_one_name() -> None:
    assert len({case.name for case in CASE}) == len(CASE)


@pytest.mark.parametrize("case", CASE, ids=lambda case: case.name)
def test_case(case: Case, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="portcall")
    if parts := case.expect.get("refused"):
        with pytest.raises(PlaybookError) as caught:
            app.load_playbook(case.text, "case.yaml")
        told = "\n".join([caught.value.message, *map(str, caught.value.problems)])
        assert [part for part in parts if part not in told] == [], told
        return
    for part in case.expect.get("notes", []):
        assert any(part in note for note in app.load_playbook(case.text).notes)
    view, events = asyncio.run(asyncio.wait_for(run(case, server, tmp_path), SECONDS))
    judge(case.expect, view, events)
    written = [e.encode(event).decode() for event in events] + [r.getMessage() for r in caplog.records]
    written += [str(r.exc_info[1]) for r in caplog.records if r.exc_info]
    for text in case.expect.get("nowhere", []):
        assert not [line for line in written if text in line]


@pytest.mark.parametrize("case", [case for case in CASE if case.expect.get("cli")], ids=lambda case: case.name)
def test_by_command_line(case: Case, server: Server, tmp_path: Path) -> None:
    file, given = tmp_path / "case.yaml", tmp_path / "given.json"
    file.write_text(case.text.partition("\nx-expect:")[0])
    given.write_text(json.dumps(case.workload(server, tmp_path)))
    credentials = [
        f"--credential={name}={json.dumps(v)}" for name, v in case.expect.get("credentials", {}).items()
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "portcall.cli", "run", str(file), "--json", "--db", str(tmp_path / "x.db"),
         "--input", str(given), *credentials],
        cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if not key.startswith("PORTCALL_")},
    )  # fmt: skip
    code = case.expect.get("exit_code", EXIT_CODES[case.expect.get("status", "completed")])
    assert ended.returncode == code, ended.stderr
    found = json.loads(ended.stdout)
    for name, wanted in wanted_steps(case.expect):
        told = {key: value for key, value in wanted.items() if key in TOLD}
        differences = list(compare(told, found["steps"][name], name))
        assert not differences, "\n".join(differences)
    for text in case.expect.get("nowhere", []):
        assert text not in ended.stdout + ended.stderr
        assert not [file for file in tmp_path.glob("x.db*") if text.encode() in file.read_bytes()]


async def run(case: Case, server: Server, folder: Path) -> tuple[ExecutionView, list[e.Event]]:
    async with Local(folder / "x.db", workdir=folder, credentials=case.expect.get("credentials", {})) as engine:
        workload = case.workload(server, folder)
        execution_id = await engine.client.start(
            StartRequest(playbook=case.text, file="case.yaml", workload=workload)
        )
        await engine.drive({execution_id})
        report = await engine.client.replay(execution_id)
        assert report.same, report.differences
        return (
            await engine.client.execution(execution_id),
            await engine.client.events(execution_id, limit=10_000),
        )


def wanted_steps(expect: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, wanted in expect.get("steps", {}).items():
        yield name, {"status": "skipped"} if wanted is None else wanted


def log_of(event: e.Event) -> str:
    match event:
        case e.CallLog(log_tail=text) | e.CallDone(log_tail=str(text)):
            return text
        case e.CallDone(outcome=outcome) if outcome is not None:
            return outcome.log_tail or ""
    return ""


def judge(expect: dict[str, Any], view: ExecutionView, events: list[e.Event]) -> None:
    found = msgspec.to_builtins(view)
    differences = list(compare(expect.get("status", "completed"), view.status, "status"))
    differences += compare(expect.get("error", {}), found.get("error", {}), "error")
    for name, wanted in wanted_steps(expect):
        differences += compare(wanted, {"data": None, **found["steps"][name]}, name)
    if "order" in expect:
        entered = [event.step for event in events if isinstance(event, e.StepEntered)]
        differences += compare(expect["order"], entered, "order")
    issued = [event for event in events if isinstance(event, e.CommandIssued)]
    for name, count in expect.get("calls", {}).items():
        differences += compare(count, sum(call.step == name for call in issued), f"calls of {name}")
    for name, parts in expect.get("log", {}).items():
        calls = {call.call_id for call in issued if call.step == name}
        log = "".join(log_of(event) for event in events if getattr(event, "call_id", "") in calls)
        differences += [f"log of {name}: no {part!r} in {log!r}" for part in parts if part not in log]
    assert not differences, "\n".join([*differences, f"error: {view.error}"])


def compare(wanted: Any, found: Any, where: str) -> Iterator[str]:  # noqa: C901 - one arm for each type
    """Each difference, as a line."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if value == "!missing":
                if key in found:
                    yield f"{where}.{key}: is there: {found[key]!r}"
            elif key not in found:
                yield f"{where}.{key}: is missing, among {sorted(found)}"
            else:
                yield from compare(value, found[key], f"{where}.{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from compare(one, other, f"{where}[{index}]")
    elif isinstance(wanted, str) and wanted.startswith("~") and isinstance(found, str):
        if not re.search(wanted[1:], found):
            yield f"{where}: {found!r} does not match {wanted[1:]!r}"
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield f"{where}: wanted {wanted!r}, found {found!r}"
