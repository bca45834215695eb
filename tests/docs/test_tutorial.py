"""Runs the tutorial: its files are written, its commands typed, and what it shows is what comes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
FILE = re.compile(r'^```yaml title="(?P<name>[\w.]+)"\n(?P<body>.*?)^```$', re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console(?: exit=(?P<exit>\d+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    line: str
    shown: list[str]
    exit_code: int


def commands(page: str) -> list[Command]:
    """Each `$` line with the lines shown below it."""
    found = []
    for block in CONSOLE.finditer(page):
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            line, *shown = part.splitlines()
            found.append(Command(line, shown, int(block["exit"] or 0)))
    return found


def missing(shown: list[str], output: str) -> list[str]:
    """The shown fragments that do not come in this order; `...` stands for anything."""
    at = 0
    absent = []
    for fragment in (piece.strip() for line in shown for piece in line.split("...")):
        place = output.find(fragment, at)
        if place < 0:
            absent.append(fragment)
        else:
            at = place + len(fragment)
    return absent


def typed(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PORTCALL_")}
    return subprocess.run(
        shlex.split(line),
        cwd=folder,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_tutorial_does_what_it_shows(tmp_path: Path) -> None:
    page = PAGE.read_text()
    for file in FILE.finditer(page):
        (tmp_path / file["name"]).write_text(file["body"])
    wrong = []
    for command in commands(page):
        ran = typed(command.line, tmp_path)
        output = ran.stdout + ran.stderr
        absent = missing(command.shown, output)
        if ran.returncode != command.exit_code or absent:
            wrong.append(f"$ {command.line}\nexit {ran.returncode}, not shown: {absent}\n{output}")
        assert "Traceback" not in output, output
    assert not wrong, "\n\n".join(wrong)


def test_the_tutorial_has_commands_and_files() -> None:
    page = PAGE.read_text()
    assert len(commands(page)) > 5
    assert len(list(FILE.finditer(page))) == page.count("title=")


def test_what_is_shown_must_come_in_order() -> None:
    assert missing(["...a...", "b"], "x a y b") == []
    assert missing(["b", "a"], "a b") == ["a"]
