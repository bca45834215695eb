"""What the pages say of commands, settings and playbooks is so."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from portcall.cli.commands import COMMANDS
from portcall.settings import describe

ROOT = Path(__file__).resolve().parents[2]
PORTCALL = Path(sys.executable).parent / "portcall"
EXAMPLES = sorted(ROOT.glob("examples/**/*.yaml"))
PLAYBOOK = re.compile(r"^```yaml\n(apiVersion:.*?)^```$", re.MULTILINE | re.DOTALL)


def flags() -> set[str]:
    """Every flag of every command."""
    known = {"--help"}
    for entry in COMMANDS.values():
        command = importlib.import_module(f"portcall.cli.{entry.module}").command
        assert isinstance(command, click.Command)
        known |= {option for parameter in command.params for option in parameter.opts}
    return known


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_its_place_in_the_manual() -> None:
    headings = re.findall(r"^### portcall (\S+)$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


def test_the_manual_names_no_flag_that_is_not_there() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", (ROOT / "docs/cli.md").read_text()))
    assert named <= flags() | {flag for setting in describe() for flag in [setting.flag, "--config"]}


def test_every_setting_is_in_the_manual() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert [setting.flag for setting in describe() if setting.help not in text] == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_is_a_right_playbook(file: Path) -> None:
    ran = subprocess.run([PORTCALL, "validate", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_playbook_of_the_readme_is_right(tmp_path: Path) -> None:
    (text,) = PLAYBOOK.findall((ROOT / "README.md").read_text())
    file = tmp_path / "readme.yaml"
    file.write_text(text)
    ran = subprocess.run([PORTCALL, "validate", file], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_data_of_the_demo_is_what_its_script_makes() -> None:
    made = script("demo_data")
    for site in made.SITES:
        rows = [",".join(row) for row in made.readings(site)]
        assert (ROOT / f"examples/demo/data/{site}.csv").read_text().splitlines()[1:] == rows


def test_every_link_leads_somewhere() -> None:
    docs = script("docs")
    assert [line for page in docs.pages() for line in docs.broken(page)] == []


def test_a_broken_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = script("docs")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n[a](#one) [b](#two) [c](other.md) [d](https://example.org/x)\n```\n[e](no.md)\n```\n"
    )
    assert [line.split(": ")[1] for line in docs.broken(page)] == ["#two", "other.md"]
