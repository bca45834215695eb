from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from portcall.cli import embedded

from .fakes import FakeEngine


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of its own with a database that is there, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("PORTCALL_DB", "PORTCALL_SERVER", "PORTCALL_TOKEN", "PORTCALL_DEBUG", "PORTCALL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".portcall").mkdir()
    (tmp_path / ".portcall" / "portcall.db").touch()
    (tmp_path / "p.yaml").write_text("apiVersion: noetl.io/v2\n")
    return tmp_path


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeEngine], FakeEngine]:
    def put(engine: FakeEngine) -> FakeEngine:
        for name in ("engine", "store", "runtime"):
            monkeypatch.setattr(embedded, name, engine.opened)
        monkeypatch.setattr(embedded, "owner_of", engine.owner_of)
        return engine

    return put
