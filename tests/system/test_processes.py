"""The commands as people use them: three processes over HTTP, or one; signals, tokens, what is printed."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sqlite3
import urllib.request
from contextlib import closing
from typing import Any

import pytest

TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")


def one_sentence(site: Any, *arguments: str, code: int = 3, env: dict[str, str] | None = None) -> str:
    """The only line that a command prints which fails."""
    said = site.cli(*arguments, code=code, env=env)
    assert said.count("\n") == 0, said
    assert said.startswith("portcall: "), said
    assert "Traceback" not in said
    return str(said)


# -- server, worker and watcher ------------------------------------------------------------------------


def test_a_playbook_from_its_registration_to_its_result(site: Any) -> None:
    site.serve()
    site.work()
    site.watch()
    add = {
        "step": "start",
        "tool": {"kind": "python", "code": "result = 20 + n", "input": {"n": "{{ workload.n }}"}},
    }
    say = {
        "step": "say",
        "tool": {
            "kind": "container",
            "command": ["sh", "-c", 'echo "{\\"got\\": $N}"'],
            "env": {"N": "{{ start.data }}"},
            "result": "stdout",
        },
    }
    file = site.file(site.playbook({**add, "next": "say"}, say))
    assert "test/system" in site.cli("register", file)
    ended = json.loads(site.cli("exec", "test/system", "--set", "n=22", "--json"))
    assert ended["status"] == "completed"
    assert ended["steps"]["say"]["data"]["result"] == {"got": 42}
    assert ended["steps"]["say"]["outcome"]["state"] == "succeeded"


def test_one_slot_and_forty_containers_in_flight(site: Any) -> None:
    site.serve()
    site.work("--slots", "1")
    site.watch()
    loop = {"in": list(range(40)), "iterator": "n", "spec": {"mode": "parallel"}}
    times = site.folder / "times"
    script = f"echo begin $(date +%s%N) >> {times}; {site.passing}; sleep 1; echo end $(date +%s%N) >> {times}"
    with site.closed_gate() as open_gate:
        execution = site.exec({**site.container(script), "loop": loop})
        site.until_fact(execution, "call.parked", 40)
        assert "call.done" not in site.kinds(site.log(execution))
        assert re.search(r"^portcall_calls_outside\{.*\} 40", metrics(site), re.MULTILINE)
        open_gate()
        assert site.ended(execution).status == "completed"
    seen = [line.split() for line in times.read_text().splitlines()]
    begun = [int(at) for what, at in seen if what == "begin"]
    done = [int(at) for what, at in seen if what == "end"]
    assert len(begun) == len(done) == 40
    assert max(begun) < min(done)
    assert len(set(site.lines())) == 40


def metrics(site: Any) -> str:
    request = urllib.request.Request(  # noqa: S310 - our own server, on loopback
        f"{site.url}/metrics", headers={"authorization": f"Bearer {site.env['PORTCALL_TOKEN']}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
        return str(answer.read().decode())


def test_looking_and_cancelling_over_the_server(site: Any) -> None:
    site.serve()
    site.work()
    site.watch()
    with site.closed_gate():
        execution = site.exec(site.container(f"echo hello from within; {site.passing}"))
        site.until_fact(execution, "call.parked")
        job = site.job()
        server = ["--server", site.url]
        assert execution in site.cli("ps", *server)
        shown = site.cli("show", execution[-6:], *server)
        assert "parked" in shown
        container = site.process_of(job, "container")
        assert "cancelled" in site.cli("cancel", "last", *server)
        assert not container.alive()
        assert site.ended(execution).status == "cancelled"
        assert "hello from within" in site.cli("logs", "last", *server)
        assert "cancelled" in site.cli("cancel", "last", *server)


def test_a_wrong_token(site: Any) -> None:
    site.serve()
    wrong = {"PORTCALL_TOKEN": "wrong-secret"}
    assert "token" in one_sentence(site, "ps", "--server", site.url, env=wrong)
    assert "wrong-secret" not in one_sentence(site, "exec", "test/system", env=wrong)


def test_no_server(site: Any) -> None:
    site.serve().kill()
    assert site.url in one_sentence(site, "ps", "--server", site.url)
    assert site.url in one_sentence(site, "exec", "test/system")


@pytest.mark.parametrize("first", ["server", "worker"])
def test_each_process_drains_on_sigterm(site: Any, first: str) -> None:
    """A short tool that runs is let end, and is reported: to a server that is stopped last, or comes back."""
    server, worker, watcher = site.serve(), site.work(), site.watch()
    running, gate = site.bell(), site.folder / "go"
    os.mkfifo(gate)
    code = f"open({str(running.path)!r}, 'w').write('\\n'); result = open({str(gate)!r}).read()"
    execution = site.exec({"step": "start", "tool": {"kind": "python", "code": code}})
    running.until()
    if first == "server":
        server.send(signal.SIGTERM)
        assert server.ended() == 0
        with closing(sqlite3.connect(site.db)) as connection, connection:  # it was away for longer than a lease
            assert connection.execute("UPDATE command SET lease_until = 0").rowcount == 1
        server = site.serve()
    worker.send(signal.SIGTERM)
    gate.write_text("went on")
    assert worker.ended() == 0
    view = site.ended(execution)
    assert (view.status, view.steps["start"].data) == ("completed", "went on")
    assert site.kinds(site.log(execution)).count("command.issued") == 1
    for process in (watcher, server):
        process.send(signal.SIGTERM)
        assert process.ended() == 0


def test_the_trace_reaches_the_container(site: Any) -> None:
    site.serve()
    site.work()
    site.watch()
    traced = site.folder / "traced"
    execution = site.exec(site.container(f"echo $TRACEPARENT > {traced}"))
    assert site.ended(execution).status == "completed"
    begun = site.log(execution)[0].traceparent
    found = traced.read_text().strip()
    assert TRACEPARENT.fullmatch(found)
    assert found.split("-")[1] == begun.split("-")[1]


# -- one process ----------------------------------------------------------------------------------------


def test_a_detached_run_and_another_process(site: Any) -> None:
    db = ["--db", str(site.db)]
    with site.closed_gate():
        file = site.file(site.playbook(site.container(f"echo hello from within; {site.passing}")))
        started = json.loads(site.cli("run", file, *db, "--detach", "--json"))
        pid = os.pidfd_open(started["pid"])
        follow = site.start("logs", started["execution_id"], "-f", *db)
        first, _, _ = select.select([follow.popen.stdout], [], [], 20)
        assert first
        assert "hello from within" in follow.popen.stdout.readline()
        assert started["execution_id"] in site.cli("ps", *db)
        assert "start" in site.cli("show", "last", *db)
        container = site.process_of(site.job(), "container")
        assert "cancelled" in site.cli("cancel", "last", *db)
        assert not container.alive()
    ended, _, _ = select.select([pid], [], [], 20)
    os.close(pid)
    assert ended, "the detached process goes on"
    assert follow.ended() == 0


def test_two_runs_at_once_on_one_database(site: Any) -> None:
    loop = {"in": list(range(5)), "iterator": "n", "spec": {"mode": "parallel"}}
    begun = site.bell()
    script = f"echo >> {begun.path}; {site.passing}"
    file = site.file(site.playbook({**site.container(script), "loop": loop}))
    with site.closed_gate() as open_gate:
        both = [site.start("run", file, "--db", str(site.db), "--json") for _ in range(2)]
        begun.until(10)
        open_gate()
        views = [json.loads(each.output()) for each in both]
    assert [each.ended() for each in both] == [0, 0]
    assert [view["status"] for view in views] == ["completed", "completed"]
    assert views[0]["execution_id"] != views[1]["execution_id"]
    assert len(set(site.lines())) == len(site.lines()) == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_resumed(site: Any, number: int) -> None:
    begun = site.bell()
    file = site.file(site.playbook(site.container(f"echo >> {begun.path}; {site.passing}")))
    with site.closed_gate() as open_gate:
        run = site.start("run", file, "--db", str(site.db))
        begun.until()
        run.send(number)
        assert run.ended() == 130
        resume = re.search(r"portcall (resume \S+ --db \S+)", run.until("portcall resume"))
        assert resume
        open_gate()
    ended = json.loads(site.cli(*resume[1].split(), "--json"))
    assert ended["status"] == "completed"
    assert len(site.lines()) == 1


# -- looking on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["events", "logs"])
def test_following_is_ended_by_a_signal_without_a_traceback(site: Any, command: str, number: int) -> None:
    site.serve()
    site.work()
    execution = site.exec(
        {"step": "start", "tool": {"kind": "shell", "command": "echo begun"}, "next": "wait"},
        {"step": "wait", "tool": {"kind": "wait", "seconds": 600}},
    )
    follow = site.start(command, execution, "-f")
    assert follow.popen.stdout.readline()
    follow.send(number)
    assert follow.ended() == 130
    assert not follow.said("Traceback")
    site.cli("cancel", execution)


def test_exec_goes_on_watching_when_the_server_is_back(site: Any) -> None:
    server = site.serve()
    begun = site.bell()
    site.cli("register", site.file(site.playbook(site.container(f"echo >> {begun.path}; {site.passing}"))))
    site.work()
    site.watch()
    with site.closed_gate() as open_gate:
        watched = site.start("exec", "test/system")
        begun.until()
        server.kill()
        watched.until("It is asked again until it answers.")
        site.serve()
        open_gate()
    assert "completed" in watched.output()
    assert watched.ended() == 0
