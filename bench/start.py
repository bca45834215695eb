"""How long a one-step `portcall run` takes, and `portcall --help`: whole processes, from start to exit."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import machine

ONE_STEP = """\
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: one, path: bench/one}
workflow:
  - step: start
    tool: {kind: noop, result: {ok: true}}
"""


def took(arguments: list[str], folder: Path) -> float:
    """Seconds."""
    began = time.perf_counter()
    subprocess.run([machine.COMMAND, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def shown(seconds: list[float]) -> str:
    low, high = min(seconds), max(seconds)
    return f"{statistics.median(seconds):.3f} s (median of {len(seconds)}; {low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    facts = machine.facts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.yaml").write_text(ONE_STEP)
        new = [took(["run", "one.yaml", "--json", "--db", f"new-{n}/db"], folder) for n in range(rounds)]
        old = [took(["run", "one.yaml", "--json", "--db", "new-0/db"], folder) for _ in range(rounds)]
        helped = [took(["--help"], folder) for _ in range(rounds)]
    machine.row("one-step `portcall run`, whole process, new database", shown(new), facts)
    machine.row("one-step `portcall run`, whole process, existing database", shown(old), facts)
    machine.row("`portcall --help`, whole process", shown(helped), facts)


if __name__ == "__main__":
    main()
