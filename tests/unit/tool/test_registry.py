from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from portcall.errors import NotFoundError, UsageError
from portcall.tool import registry
from portcall.tool.noop import Noop

BUILT_IN = ["noop", "python", "shell", "http", "container", "wait"]


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two installed packages: one that works, one that does not; and one that takes a built-in's name."""
    points = [
        EntryPoint("other", "portcall.tool.noop:Noop", registry.GROUP),
        EntryPoint("broken", "no_such_package.tool:Tool", registry.GROUP),
        EntryPoint("shell", "portcall.tool.noop:Noop", registry.GROUP),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: EntryPoints(points))
    monkeypatch.setattr(registry, "_kinds", registry._Kinds())
    registry._installed.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    yield
    registry._installed.cache_clear()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_the_built_in_kinds(kind: str) -> None:
    tool = registry.get(kind)
    assert tool.kind == kind
    assert registry.kinds()[kind] is tool
    assert tool.Config.model_json_schema()["additionalProperties"] is False


def test_all_are_listed_and_none_twice() -> None:
    assert list(registry.kinds())[:6] == BUILT_IN
    assert len(registry.kinds()) == len(list(registry.kinds()))


def test_an_unknown_kind_is_told_with_those_there_are() -> None:
    with pytest.raises(NotFoundError, match=r"There is no tool kind shel; there are container, http, .*shell"):
        registry.get("shel")
    assert "shel" not in registry.kinds()
    with pytest.raises(KeyError):
        registry.kinds()["shel"]


@pytest.mark.usefixtures("others")
def test_installed_packages_add_kinds_but_replace_none() -> None:
    assert isinstance(registry.get("other"), Noop)
    assert "other" in registry.kinds()
    assert registry.get("shell").kind == "shell"
    with pytest.raises(UsageError, match="no_such_package cannot be loaded"):
        registry.get("broken")


def test_a_built_in_kind_costs_neither_entry_points_nor_an_http_client() -> None:
    code = (
        f"import sys; from portcall.tool import registry; [registry.get(kind) for kind in {BUILT_IN!r}]; "
        "print([name for name in ('httpx2', 'importlib.metadata', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "httpx2" not in done.stdout
    assert "importlib.metadata" not in done.stdout
