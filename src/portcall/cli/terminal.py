"""Where text goes: a terminal with colours and a width, or a pipe that wants plain lines."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

from portcall.cli.rows import MARK, Row

if TYPE_CHECKING:
    from rich.console import Console

STYLE = {
    "pending": "bright_black",
    "running": "cyan",
    "parked": "blue",
    "completed": "green",
    "failed": "red",
    "skipped": "bright_black",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "failing": "red",
}


PIPE_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Terminal:
    stream: TextIO
    tty: bool
    color: bool

    @classmethod
    def of(cls, stream: TextIO) -> Terminal:
        tty = stream.isatty()
        plain = os.environ.get("NO_COLOR", "") != "" or os.environ.get("TERM") == "dumb"
        return cls(stream, tty and os.environ.get("TERM") != "dumb", tty and not plain)

    @property
    def width(self) -> int:
        """Columns for running text; `COLUMNS` is honoured, and a pipe has as many as a wide window."""
        return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if self.tty else PIPE_WIDTH

    def line(self, text: str = "") -> None:
        click.echo(text, file=self.stream, color=self.color)

    def wrap(self, text: str, indent: str = "", more: str = "") -> list[str]:
        """The text after `indent`; on a terminal broken between words, the rest after `indent` and `more`."""
        if not self.tty:
            return [indent + text]
        import textwrap

        wrapped = textwrap.wrap(
            text,
            self.width,
            initial_indent=indent,
            subsequent_indent=indent + more,
            break_on_hyphens=False,
            break_long_words=False,
        )
        return wrapped or [indent]

    def paint(self, text: str, style: str = "", *, bold: bool = False) -> str:
        """The text in a colour, where colours are wanted."""
        return click.style(text, fg=style or None, bold=bold or None) if self.color else text

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; a column that starts with `>` is set to the right. Never cut in a pipe."""
        if self.tty:
            from portcall.cli.screen import table

            self.console().print(table(columns, rows))
            return
        for text in plain_table(columns, rows):
            self.line(text)

    def steps(self, rows: Sequence[Row]) -> None:
        """The table of an execution's steps."""
        if self.tty:
            from portcall.cli.screen import steps

            self.console().print(steps(rows, self.console().width))
            return
        columns = ("STEP", "STATUS", "KIND", ">ATTEMPTS", ">ELAPSED", "DETAIL")
        cells = [
            (
                f"{MARK.get(row.status, '·')} {row.name}",
                row.status,
                row.kind,
                row.attempts,
                row.elapsed,
                row.detail,
            )
            for row in rows
        ]
        for text in plain_table(columns, cells):
            self.line(text)

    def console(self) -> Console:
        from portcall.cli.screen import Steady

        return Steady(file=self.stream, no_color=not self.color, highlight=False, emoji=False, markup=False)


def out() -> Terminal:
    return Terminal.of(sys.stdout)


def err() -> Terminal:
    return Terminal.of(sys.stderr)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, two spaces apart."""
    heads = [column.lstrip(">") for column in columns]
    widths = [max(len(cell) for cell in cells) for cells in zip(heads, *rows, strict=True)]

    def text(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if column.startswith(">") else cell.ljust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        ).rstrip()

    return [text(cells) for cells in (heads, *rows)]
