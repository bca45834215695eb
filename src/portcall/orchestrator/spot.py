"""Where a decision stands: a step, its run, and one pass through its tools."""

from __future__ import annotations

from typing import NamedTuple

from portcall.model.state import Frame, StepRun
from portcall.playbook.model import Step, Tool


class Spot(NamedTuple):
    step: Step
    run: StepRun
    iteration: int | None = None

    @property
    def frame(self) -> Frame:
        """The pass; it begins with its first call."""
        return self.run.frames[self.iteration]

    @property
    def tool(self) -> Tool:
        """The tool that the pass is at."""
        return self.step.tools[self.frame.position]


def where(step: Step) -> str:
    """The step for people, with its line in the playbook."""
    return f"step {step.name!r} (line {step.line})"
