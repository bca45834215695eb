from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console
from rich.text import Text

from portcall.cli.screen import Steady, screen, table
from portcall.model.api import StepView

from . import views

WIDTHS = [60, 100, 180]


def draw(width: int, height: int, *, color: bool = False) -> list[str]:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        height=height,
        force_terminal=color,
        color_system="truecolor" if color else None,
    )
    console.print(screen(views.pipeline(), views.NOW, width, height, (0, 1)))
    return stream.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_screen_fits_the_terminal(width: int, height: int) -> None:
    lines = draw(width, height)
    assert len(lines) < height
    assert max(len(line.rstrip()) for line in lines) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_what_matters_is_there_at_every_width(width: int) -> None:
    text = "\n".join(draw(width, 24))
    for word in (
        "demo/train",
        "slots 0/1 busy · 7 containers in flight",
        "profile",
        "12/40",
        "3 attempts · It used more",
        "pid 4012",
    ):
        assert word in text


def test_a_repeated_call_says_why_and_with_what() -> None:
    view = views.pipeline()
    call = msgspec.structs.replace(views.parked(1), attempt=2, after="failed_oom", grown={"memory": "96Mi"})
    view.steps["train"] = StepView(status="parked", kind="container", attempts=2, calls=[call])
    stream = io.StringIO()
    Console(file=stream, width=100).print(screen(view, views.NOW, 100, 30, None))
    assert "attempt 2 · memory 96Mi, after failed_oom · started · pid 4001" in stream.getvalue()


def test_the_cursor_stays_to_be_seen() -> None:
    assert not Steady(force_terminal=True).show_cursor(show=False)


def test_a_narrow_screen_leaves_the_kind_out() -> None:
    assert "container " not in "\n".join(draw(60, 24)).replace("containers", "")
    assert "container " in "\n".join(draw(100, 24)).replace("containers", "")


def test_columns_stand_below_each_other() -> None:
    lines = [line for line in draw(100, 12) if "python" in line or " container " in line]
    assert len({max(line.find("python"), line.find(" container ") + 1) for line in lines}) == 1


def test_a_terminal_gets_colours() -> None:
    assert any("\x1b[3" in line for line in draw(100, 24, color=True))


def test_a_table_folds_and_never_cuts() -> None:
    stream = io.StringIO()
    long = "x" * 80
    Console(file=stream, width=60).print(table(("PLAYBOOK", ">N"), [(long, "1")]))
    assert stream.getvalue().count("x") == 80
    assert isinstance(table(("A",), [("b",)]).columns[0].header, Text)
