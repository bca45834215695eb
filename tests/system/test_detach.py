"""An execution that a process in the background runs, looked at and steered from other processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PLAYBOOK = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: detached, path: test/detached}
workflow:
  - step: start
    tool:
      kind: container
      command: [sh, -c, 'echo "the first words"; read line < "$GATE"; echo "$line"; exit $CODE']
      env: {GATE: "{{ workload.gate }}", CODE: "{{ workload.code }}"}
    next: [{step: done}]
  - step: done
    tool: {kind: noop, result: {fine: true}}
"""


def gate_of(site: Any) -> Path:
    """A pipe at which the container waits until somebody writes to it."""
    gate = Path(site.folder) / "gate"
    os.mkfifo(gate)
    return gate


def detach(site: Any, gate: Path, code: int = 0) -> dict[str, Any]:
    """What `run --detach --json` prints, once the container is known to run."""
    values = ["--set", f"gate={gate}", "--set", f"code={code}"]
    file = site.file(PLAYBOOK)
    started = json.loads(site.cli("run", file, "--detach", "--json", *values, "--db", str(site.db)))
    follower = site.start("events", started["execution_id"], "-f", "--db", str(site.db))
    assert follower.popen.stdout is not None
    for line in follower.popen.stdout:
        if "call.parked" in line:
            break
    follower.close()
    return dict(started)


def open_gate(gate: Path) -> None:
    """Lets the container go on. Blocks until it reads."""
    gate.write_text("let through\n")


def shown(site: Any, execution: str, code: int = 0) -> dict[str, Any]:
    return dict(json.loads(site.cli("show", execution, "--json", "--db", str(site.db), code=code)))


def wait(site: Any, execution: str) -> str:
    """All that `logs --follow` prints: it ends when the execution has ended."""
    return str(site.cli("logs", execution, "-f", "--db", str(site.db)))


def test_it_goes_on_alone_and_is_seen_from_elsewhere(site: Any) -> None:
    gate = gate_of(site)
    started = detach(site, gate)
    execution, db = started["execution_id"], ["--db", str(site.db)]
    assert started["status"] == "running"
    assert os.getpgid(started["pid"]) == started["pid"], "it would end with its caller's terminal"

    (summary,) = json.loads(site.cli("ps", "--json", *db))
    assert (summary["execution_id"], summary["status"], summary["parked"]) == (execution, "running", 1)
    view = shown(site, "last")
    assert view["steps"]["start"]["status"] == "parked"
    assert site.cli("logs", execution, "start", *db) == "the first words\n"
    assert f"is run by process {started['pid']}" in site.cli("resume", execution, *db, code=2)

    open_gate(gate)
    printed = wait(site, execution)
    assert "start | let through" in printed
    view = shown(site, execution)
    assert view["status"] == "completed"
    assert view["steps"]["done"]["data"] == {"fine": True}
    assert "fold to the same" in site.cli("replay", execution, *db)


def test_it_fails_as_it_would_have_in_front(site: Any) -> None:
    gate = gate_of(site)
    started = detach(site, gate, code=3)
    open_gate(gate)
    wait(site, started["execution_id"])
    view = shown(site, started["execution_id"])
    assert view["status"] == "failed"
    assert view["steps"]["start"]["outcome"]["exit_code"] == 3


def test_its_process_says_in_the_log_how_it_ended(site: Any) -> None:
    gate = gate_of(site)
    started = detach(site, gate)
    open_gate(gate)
    wait(site, started["execution_id"])
    # The lock of the driver is free when its process has ended: `resume` then finds nothing to leave to it.
    assert "completed" in site.cli("resume", started["execution_id"], "--db", str(site.db))
    log = Path(started["log"])
    assert log.stat().st_mode & 0o777 == 0o600
    assert "the first words" not in log.read_text()
    assert "Traceback" not in log.read_text()


def test_it_is_cancelled_from_elsewhere(site: Any) -> None:
    started = detach(site, gate_of(site))
    execution = started["execution_id"]
    assert site.cli("cancel", execution, "--db", str(site.db)) == f"Execution {execution}: cancelled.\n"
    view = shown(site, execution)
    assert view["status"] == "cancelled"
    assert view["steps"]["start"]["outcome"]["state"] == "cancelled"
    assert "has ended already" not in site.cli("cancel", execution, "--db", str(site.db))


def test_a_wrong_playbook_starts_nothing(site: Any) -> None:
    said = site.cli("run", site.file("kind: Playbook\n"), "--detach", "--db", str(site.db), code=2)
    assert "^" in said
    assert "nothing was started" in said
    assert json.loads(site.cli("ps", "--json", "--db", str(site.db))) == []
