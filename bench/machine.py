"""What the benchmarks share: the machine's facts, the rows they print, and the memory of processes."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "portcall")


def facts() -> str:
    """Cores, memory, load, Python: what a figure cannot be read without."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, load {load:.1f}"


def row(what: str, result: str, machine: str) -> None:
    """One row of the table in docs/benchmarks.md."""
    print(f"| {what} | {result} | {machine} |", flush=True)


def pss(pid: int) -> int:
    """The proportional share of memory of one process, in bytes; 0 when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def processes(belongs: Callable[[str], bool]) -> list[int]:
    """The pids whose name in the process table answers to `belongs`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            if belongs(name):
                found.append(int(entry.name))
    return found
