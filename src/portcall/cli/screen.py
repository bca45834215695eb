"""The live table of an execution, drawn by rich. Imported only where a terminal is there to draw on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from portcall.cli.rows import MARK, Row, capacity, header, rows
from portcall.cli.terminal import STYLE
from portcall.model.api import ExecutionView

NARROW = 80
"""Below this width the column with the kind of tool goes."""
HEADER_LINES = 3
FREE_LINES = 2
"""Below the table: the empty line on which the cursor and a typed ^C stand, and one for rich to end on."""


class Steady(Console):
    """Never hides the cursor: a process that is killed leaves the terminal as it was."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: FBT001, FBT002 - rich's signature
        del show
        return False


def screen(view: ExecutionView, now: datetime, width: int, height: int, slots: tuple[int, int] | None) -> Group:
    """The whole screen in `width` columns and at most `height` lines."""
    first = Text(f"{MARK[view.status]} ", style=STYLE[view.status], no_wrap=True, overflow="ellipsis")
    first.append(header(view, now), style="bold default")
    second = Text(f"  {capacity(view, slots)}", no_wrap=True, overflow="ellipsis")
    budget = max(height - HEADER_LINES - FREE_LINES, 2)
    return Group(first, second, Text(""), steps(rows(view, now, budget), width), Text(""))


def steps(table_rows: Sequence[Row], width: int) -> Table:
    """The table of the steps, one line each; what does not fit is cut with an ellipsis."""
    wide = width >= NARROW
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=max(width * 3 // 10, 16))
    if wide:
        grid.add_column(no_wrap=True, style="bright_black")
    grid.add_column(no_wrap=True, justify="right", min_width=6)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for row in table_rows:
        grid.add_row(*_cells(row, wide=wide))
    return grid


def _cells(row: Row, *, wide: bool) -> list[Text]:
    style = STYLE.get(row.status, "")
    name = Text("    " if row.child else "  ")
    name.append(f"{MARK.get(row.status, '·')} ", style=style)
    name.append(row.name, style="" if row.status != "pending" else style)
    attempt = Text(f"{row.tries} · " if row.tries else "", style="yellow")
    loud = row.status in {"failed", "cancelled"}
    attempt.append(row.detail or ("" if row.child else row.status), style=style if loud else "default")
    kind = [Text(row.kind)] if wide else []
    return [name, *kind, Text(row.elapsed), attempt]


def table(columns: Sequence[str], table_rows: Sequence[Sequence[str]]) -> Table:
    """A table for a list; a column that starts with `>` is set to the right."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(
            Text(column.lstrip(">")),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
            # An id or a number in two parts is no use to anybody.
            no_wrap=column != "PLAYBOOK",
        )
    for cells in table_rows:
        drawn.add_row(*[Text(cell, style=STYLE.get(cell, "")) for cell in cells])
    return drawn
