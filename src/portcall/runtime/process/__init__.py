"""Containers as local processes, without an image and without isolation, that outlive portcall."""

from __future__ import annotations

TYPE_CHECKING = False  # of `typing`, which the fork server must not import
if TYPE_CHECKING:
    from portcall.runtime.process.runtime import ProcessRuntime

__all__ = ["ProcessRuntime"]


def __getattr__(name: str) -> type[ProcessRuntime]:
    if name == "ProcessRuntime":
        from portcall.runtime.process.runtime import ProcessRuntime  # too heavy for a supervisor

        return ProcessRuntime
    raise AttributeError(name)
