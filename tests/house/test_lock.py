"""The lock is whole: every dependency with its hashes, and no host."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
NAME = re.compile(r"^[A-Za-z0-9._-]+")


def normal(requirement: str) -> str:
    found = NAME.match(requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def asked_for() -> set[str]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for group in groups["lock"]:
        wanted += groups[group["include-group"]]
    return {normal(requirement) for requirement in wanted}


def test_every_dependency_is_locked() -> None:
    locked = {normal(line) for line in LOCK.splitlines() if NAME.match(line)}
    assert asked_for() <= locked


def test_every_entry_has_a_hash() -> None:
    entries = re.split(r"\n(?=[a-z])", LOCK.strip())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_no_host_stands_in_the_lock() -> None:
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert "--find-links" not in LOCK
