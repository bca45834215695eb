from __future__ import annotations

import io

import pytest

from portcall.cli.rows import rows
from portcall.cli.terminal import Terminal, plain_table

from . import views


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_aligned_text() -> None:
    assert plain_table(("ID", ">N"), [("a", "10"), ("bbb", "2")]) == ["ID    N", "a    10", "bbb   2"]
    stream = io.StringIO()
    terminal = Terminal.of(stream)
    terminal.steps(rows(views.pipeline(), views.NOW))
    terminal.line(terminal.paint("x", "red"))
    assert "\x1b" not in stream.getvalue()
    assert "✗ train" in stream.getvalue()


def test_a_terminal_gets_colours_unless_it_asks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in Terminal.of(Tty()).paint("x", "red")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Tty()
    terminal = Terminal.of(stream)
    terminal.table(("A",), [("failed",)])
    terminal.line(terminal.paint("x", "red"))
    assert "\x1b[3" not in stream.getvalue()
