"""One worker slot and many containers in flight: how long, how much memory, how many slots.

Each container sleeps. Its `sleep` is not counted as memory of portcall's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import machine
import uvloop

from portcall import local
from portcall.model.api import StartRequest

PLAYBOOK = """\
apiVersion: noetl.io/v2
kind: Playbook
metadata: {{name: containers, path: bench/containers}}
workflow:
  - step: start
    loop: {{in: "{{{{ range({count}) | list }}}}", iterator: n, spec: {{mode: parallel}}}}
    tool: {{kind: container, image: "busybox:1", command: [sleep, "{seconds}"], result: none}}
"""


@dataclass(slots=True)
class Peak:
    """The most containers seen in flight, and portcall's memory at that moment, in bytes."""

    in_flight: int = 0
    engine: int = 0
    supervisors: int = 0
    busy: int = 0


async def watch(here: local.Local, before: set[int], wanted: int, peak: Peak) -> None:
    """Samples until all are in flight at once, and measures then."""
    while peak.in_flight < wanted:
        (summary, *_) = await here.client.executions(1)
        if summary.parked > peak.in_flight:
            peak.in_flight, peak.busy = summary.parked, here.busy
        await asyncio.sleep(0.2)
    peak.engine = machine.pss(os.getpid())
    ours = set(machine.processes(lambda name: name.startswith("portcall-"))) - before - {os.getpid()}
    peak.supervisors = sum(map(machine.pss, ours))


async def measure(count: int, seconds: int) -> None:
    facts = machine.facts()
    peak = Peak()
    before = set(machine.processes(lambda name: name.startswith("portcall-")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with local.Local(folder / "db", slots=1, workdir=folder) as here:
            began = time.perf_counter()
            playbook = PLAYBOOK.format(count=count, seconds=seconds)
            execution_id = await here.client.start(StartRequest(playbook=playbook))
            watching = asyncio.create_task(watch(here, before, count, peak))
            await here.drive({execution_id})
            took = time.perf_counter() - began
            watching.cancel()
            view = await here.client.execution(execution_id)
    if view.status != "completed":
        raise SystemExit(f"the execution ended as {view.status}: {view.error}")
    machine.row(
        f"1 slot, {count:,} containers of {seconds} s",
        f"{took:.1f} s; {peak.in_flight:,} in flight at once; {peak.engine / 2**20:.0f} MiB portcall, "
        f"{peak.supervisors / 2**20:.0f} MiB supervisors",
        facts,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", default=[200, 1000])
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    for count in given.counts:
        uvloop.run(measure(count, given.seconds))


if __name__ == "__main__":
    main()
