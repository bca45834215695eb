"""`portcall run` is killed at any moment: the resumed execution ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from typing import Any

import pytest

SEEDS = 50
NOTHING_YET = (2, 3)
"""Exit codes of a resume that finds no database, or no execution in it."""
ITS_OWN = {"job_name", "job_uid", "completed_at"}
"""What differs from execution to execution."""

PLAYBOOK = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: kill, path: test/kill}
workflow:
  - step: start
    tool: {kind: python, code: "result = {'n': 4}"}
    next: {spec: {mode: inclusive}, arcs: [{step: fan}, {step: chain}]}
  - step: fan
    loop: {in: "{{ range(start.n) | list }}", iterator: n, spec: {mode: parallel}}
    tool:
      kind: container
      command:
        - sh
        - -c
        - |
          echo "$PORTCALL_STEP $PORTCALL_CALL_ID" >> $RAN
          sleep 0.$((N + 1))
          echo "{\\"n\\": $N}" > $PORTCALL_RESULT
      env: {N: "{{ n }}", RAN: "{{ workload.ran }}"}
    next: [{step: sum}]
  - step: chain
    loop: {in: [1, 2, 3], iterator: n, spec: {mode: sequential}}
    tool:
      kind: container
      command:
        - sh
        - -c
        - |
          echo "$PORTCALL_STEP $PORTCALL_CALL_ID" >> $RAN
          sleep 0.1
          echo "{\\"n\\": $N}"
      env: {N: "{{ n }}", RAN: "{{ workload.ran }}"}
      result: stdout
    next: [{step: grow}]
  - step: grow
    tool:
      kind: container
      command: [python3, -c, "{{ workload.grow }}"]
      env: {RAN: "{{ workload.ran }}"}
      resources: {limits: {memory: 32Mi}}
    retry: [{on: failed_oom, max_attempts: 3, grow: {memory: 2x, up_to: 128Mi}}]
    next: [{step: sum}]
  - step: sum
    input: {fan: "{{ fan.results }}", chain: "{{ chain.results }}", grown: "{{ grow.result.held }}"}
    tool:
      kind: python
      code: |
        result = {
          'fan': [each['result']['n'] for each in fan],
          'chain': [each['result']['n'] for each in chain],
          'grown': grown,
        }
"""
GROW = """
import json, os, time
line = os.environ['PORTCALL_STEP'] + ' ' + os.environ['PORTCALL_CALL_ID'] + chr(10)
file = os.open(os.environ['RAN'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(file, line.encode())
held = bytearray(48 << 20)
time.sleep(60 if os.environ['PORTCALL_ATTEMPT'] == '1' else 0.1)
open(os.environ['PORTCALL_RESULT'], 'w').write(json.dumps({'held': len(held)}))
"""
EXPECTED = {"fan": [0, 1, 2, 3], "chain": [1, 2, 3], "grown": 48 << 20}
CONTAINERS = {"fan": 4, "chain": 3, "grow": 2}


def begin(site: Any) -> Any:
    file = site.file(PLAYBOOK)
    values = ["--set", f"ran={site.ran}", "--input", "grow.json"]
    (site.folder / "grow.json").write_text(json.dumps({"grow": GROW}))
    return site.start("run", file, "--db", str(site.db), "--json", *values)


def plain(view: dict[str, Any]) -> dict[str, Any]:
    """What must not differ between two executions. A short tool that was killed is run again, and says so."""
    steps = {
        name: (step["status"], step["attempts"] if "outcome" in step else None, _data(step["data"]))
        for name, step in view["steps"].items()
    }
    return {"status": view["status"], "error": view["error"], "steps": steps}


def _data(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _data(value) for key, value in data.items() if key not in ITS_OWN}
    return [_data(value) for value in data] if isinstance(data, list) else data


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Any, float]:
    """The result, and how long it takes, in seconds."""
    site_type = request.getfixturevalue("site_type")
    site = site_type(tmp_path_factory.mktemp("undisturbed"))
    try:
        began = time.monotonic()
        process = begin(site)
        view = json.loads(process.output())
        lasted = time.monotonic() - began
        assert process.ended() == 0, process.text("it failed")
        ran = Counter(line.split()[0] for line in site.lines())
    finally:
        site.close()
    assert view["steps"]["sum"]["data"] == EXPECTED
    assert ran == CONTAINERS
    return plain(view), lasted


def killed_at(process: Any, seconds: float) -> bool:
    """Kill the process group after so long; False: it had ended before."""
    try:
        process.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return bool(process.ended() == -signal.SIGKILL)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_at_a_random_moment(site: Any, undisturbed: tuple[Any, float], seed: int) -> None:
    expected, lasted = undisturbed
    moments = random.Random(seed)  # noqa: S311 - it is to be the same each time
    db = ["--db", str(site.db)]
    killed = killed_at(begin(site), moments.uniform(0, lasted))
    if killed and seed % 3 == 0:
        killed_at(site.start("resume", *db), moments.uniform(0, lasted))
    resumed = site.start("resume", "last", *db, "--json")
    printed = resumed.output()
    if resumed.ended() in NOTHING_YET:
        assert killed
        assert site.lines() == []
        return
    assert resumed.ended() == 0, resumed.text(printed)
    found = plain(json.loads(printed))
    for step, what in expected["steps"].items():
        assert found["steps"][step] == what
    assert found == expected
    ran = site.lines()
    assert Counter(line.split()[0] for line in ran) == CONTAINERS
    assert len(set(ran)) == len(ran), "a call ran twice"
    assert "same" in site.cli("replay", "last", *db)
