"""Server, worker and watcher die at exact points: one test for each line of the table in the protocol."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from portcall.errors import NotFoundError


def ended_once(site: Any, execution: str, status: str = "completed") -> Any:
    """The view of the ended execution, whose one container has begun once and ended once."""
    view = site.ended(execution)
    assert view.status == status, view
    assert len(site.lines()) == 1
    assert site.kinds(site.log(execution)).count("call.done") == 1
    return view


# -- the worker ------------------------------------------------------------------------------------


def test_a_worker_dies_before_it_creates(site: Any) -> None:
    site.serve()
    site.watch()
    dying = site.work(at="dispatch:before:kill")
    execution = site.exec(site.container())
    assert dying.ended() == -signal.SIGKILL
    assert site.lines() == []
    site.work()
    ended_once(site, execution)
    assert "command.expired" in site.kinds(site.log(execution))


def test_a_worker_dies_after_it_has_created(site: Any) -> None:
    site.serve()
    site.watch()
    dying = site.work(at="dispatch:after:kill")
    with site.closed_gate() as open_gate:
        execution = site.exec(site.container(site.passing))
        assert dying.ended() == -signal.SIGKILL
        site.work()
        log = site.until_fact(execution, "call.parked")
        assert site.kinds(log).count("command.expired") == 1
        open_gate()
        ended_once(site, execution)


def test_the_end_comes_before_the_worker_has_told_of_the_start(site: Any) -> None:
    site.serve()
    site.watch()
    dying = site.work(at="dispatch:after:kill")
    execution = site.exec(site.container())
    assert dying.ended() == -signal.SIGKILL
    ended_once(site, execution)
    assert "call.parked" not in site.kinds(site.log(execution))


@pytest.mark.parametrize("at", ["lease:before:stop", "dispatch:before:stop", "dispatch:after:stop"])
def test_a_worker_sleeps_around_its_create_and_wakes_after_the_end(site: Any, at: str) -> None:
    site.serve()
    watcher = site.watch(at="release:after:say")
    sleeper = site.work(at=at)
    execution = site.exec(site.container())
    sleeper.until("at ")
    site.work()
    ended_once(site, execution)
    watcher.until("at release")
    sleeper.send(signal.SIGCONT)
    sleeper.send(signal.SIGTERM)
    assert sleeper.ended() == 0
    ended_once(site, execution)
    assert site.jobs() == []


def test_a_worker_dies_while_it_runs_a_short_tool(site: Any) -> None:
    site.serve()
    running = site.bell()
    code = f"""
with open({str(site.ran)!r}, "a+") as file:
    file.write("ran\\n")
    file.seek(0)
    result = {{"times": len(file.readlines())}}
if result["times"] == 1:
    import time
    open({str(running.path)!r}, "w").write("running\\n")
    time.sleep(60)
"""
    worker = site.work()
    execution = site.exec({"step": "start", "tool": {"kind": "python", "code": code}})
    running.until()
    worker.kill()
    site.work()
    view = site.ended(execution)
    assert (view.status, view.steps["start"].data) == ("completed", {"times": 2})
    assert site.kinds(site.log(execution)).count("command.expired") == 1


def test_the_report_of_a_worker_that_slept_is_stale(site: Any) -> None:
    site.serve()
    code = f"""
with open({str(site.ran)!r}, "a+") as file:
    file.write("ran\\n")
    file.seek(0)
    result = {{"times": len(file.readlines())}}
"""
    sleeper = site.work(at="report:before:stop")
    execution = site.exec({"step": "start", "tool": {"kind": "python", "code": code}})
    sleeper.until("at report")
    site.work()
    assert site.ended(execution).steps["start"].data == {"times": 2}
    sleeper.send(signal.SIGCONT)
    site.until_fact(execution, "call.stale")
    assert site.ended(execution).steps["start"].data == {"times": 2}
    assert site.kinds(site.log(execution)).count("call.done") == 1


# -- the watcher -------------------------------------------------------------------------------------


def test_a_watcher_dies_before_it_has_told_of_the_end(site: Any) -> None:
    site.serve()
    site.work()
    dying = site.watch(at="post:before:kill")
    execution = site.exec(site.container())
    assert dying.ended() == -signal.SIGKILL
    assert "call.done" not in site.kinds(site.log(execution))
    site.watch()
    ended_once(site, execution)


def test_a_container_ends_while_there_is_no_watcher(site: Any) -> None:
    site.serve()
    site.work()
    execution = site.exec(site.container())
    site.until_fact(execution, "call.parked")
    site.gone(site.process_of(site.job(), "supervisor"))
    site.watch()
    ended_once(site, execution)


def test_a_watcher_dies_between_the_post_and_the_release(site: Any) -> None:
    site.serve()
    site.work()
    dying = site.watch(at="release:before:kill")
    execution = site.exec(site.container())
    assert dying.ended() == -signal.SIGKILL
    ended_once(site, execution)
    assert len(site.jobs()) == 1
    site.watch(at="release:after:say").until("at release")
    assert site.jobs() == []
    ended_once(site, execution)
    assert "call.stale" not in site.kinds(site.log(execution))


def test_two_watchers_at_once(site: Any) -> None:
    site.serve()
    site.work()
    both = [site.watch(), site.watch()]
    loop = {"in": list(range(10)), "iterator": "n", "spec": {"mode": "parallel"}}
    execution = site.exec({**site.container(), "loop": loop})
    assert site.ended(execution).status == "completed"
    for each in both:
        each.send(signal.SIGTERM)
        assert each.ended() == 0
    assert len(site.lines()) == len(set(site.lines())) == 10
    assert site.kinds(site.log(execution)).count("call.done") == 10


# -- the server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["commit:before:kill", "commit:after:kill"])
def test_the_server_dies_while_it_takes_the_end_in(site: Any, at: str) -> None:
    dying = site.serve(at=at)
    site.work()
    watcher = site.watch(at="release:after:say")
    execution = site.exec(site.container())
    assert dying.ended() == -signal.SIGKILL
    site.serve()
    ended_once(site, execution)
    watcher.until("at release")
    assert site.jobs() == []
    assert "call.stale" not in site.kinds(site.log(execution))


def test_the_server_dies_with_calls_open(site: Any) -> None:
    server = site.serve()
    site.work()
    site.watch()
    start = {
        "step": "start",
        "tool": {"kind": "noop"},
        "next": {"spec": {"mode": "inclusive"}, "arcs": [{"step": "work"}, {"step": "pause"}]},
    }
    pause = {"step": "pause", "tool": {"kind": "wait", "seconds": 1}}
    with site.closed_gate() as open_gate:
        execution = site.exec(start, site.container(site.passing, "work"), pause)
        site.until_fact(execution, "call.parked", 2)
        job = site.process_of(site.job(), "supervisor")
        server.kill()
        open_gate()
        site.gone(job)
        site.serve()
        view = site.ended(execution)
    assert {step.status for step in view.steps.values()} == {"completed"}
    assert len(site.lines()) == 1


# -- the runtime -------------------------------------------------------------------------------------------


def test_the_runtime_is_away_for_a_while(site: Any) -> None:
    """The folder of the runtime cannot be made: the command is put back, and the one slot works on."""
    disk = site.folder / "disk"
    disk.write_text("not mounted")
    root = disk / "containers"
    site.serve()
    site.work("--slots", "1", runtime=root)
    site.watch(runtime=root)
    start = {
        "step": "start",
        "tool": {"kind": "noop"},
        "next": {"spec": {"mode": "inclusive"}, "arcs": [{"step": "work"}, {"step": "side"}]},
    }
    side = {"step": "side", "tool": {"kind": "python", "code": "result = 7"}}
    execution = site.exec(start, site.container("true", "work"), side)
    log = site.until(
        execution,
        lambda log: (
            "command.deferred" in site.kinds(log) and any(getattr(event, "data", None) == 7 for event in log)
        ),
    )
    assert "call.parked" not in site.kinds(log)
    disk.unlink()
    disk.mkdir()
    assert site.ended(execution).status == "completed"
    assert len(site.lines()) == 1


def test_a_success_that_waited_past_its_deadline_is_a_success(site: Any) -> None:
    site.serve()
    site.work()
    watcher = site.watch()
    with site.closed_gate() as open_gate:
        execution = site.exec(site.container(site.passing, timeout_seconds=600))
        site.until_fact(execution, "call.progress")
        watcher.kill()
        with closing(sqlite3.connect(site.db)) as connection, connection:
            assert connection.execute("UPDATE timer SET due_at = 0 WHERE kind = 'overdue'").rowcount == 1
        site.until_fact(execution, "call.overdue")
        supervisor = site.process_of(site.job(), "supervisor")
        open_gate()
        site.gone(supervisor)
        assert "call.done" not in site.kinds(site.log(execution))
        site.watch()
        outcome = ended_once(site, execution).steps["start"].outcome
        assert outcome.state == "succeeded"


@pytest.mark.parametrize("when", ["running", "ended"])
def test_the_folder_of_a_job_is_removed_by_force(site: Any, when: str) -> None:
    site.serve()
    site.work()
    with site.closed_gate() as open_gate:
        execution = site.exec(site.container(site.passing))
        site.until_fact(execution, "call.parked")
        job = site.job()
        supervisor = site.process_of(job, "supervisor")
        if when == "ended":
            open_gate()
            site.gone(supervisor)
        shutil.rmtree(job)
        site.watch()
        outcome = site.ended(execution).steps["start"].outcome
        assert (outcome.state, outcome.started, outcome.evidence.level) == ("lost", True, "none")
        assert site.ended(execution).status == "failed"
        open_gate()
        site.gone(supervisor)


def test_a_supervisor_is_killed(site: Any) -> None:
    site.serve()
    site.work()
    site.watch()
    with site.closed_gate():
        execution = site.exec(site.container(site.passing))
        site.until_fact(execution, "call.parked")
        container = site.process_of(site.job(), "container")
        assert site.process_of(site.job(), "supervisor").signal(signal.SIGKILL)
        outcome = ended_once(site, execution, "failed").steps["start"].outcome
        assert (outcome.state, outcome.failure_class, outcome.started) == ("lost", "infrastructure", True)
        assert not container.alive()


def test_the_machine_has_been_started_again(site: Any) -> None:
    site.serve()
    site.work()
    with site.closed_gate():
        execution = site.exec(site.container(site.passing))
        site.until_fact(execution, "call.parked")
        job = site.job()
        supervisor = site.process_of(job, "supervisor")
        assert supervisor.signal(signal.SIGKILL)
        site.gone(supervisor)
        _of_another_boot(job, site.db)
        site.watch()
        outcome = ended_once(site, execution, "failed").steps["start"].outcome
        assert (outcome.state, outcome.reason, outcome.started) == ("lost", "Rebooted", True)


def _of_another_boot(job: Path, db: Path) -> None:
    """As if job and call had been made before this boot."""
    spec = job / "spec.json"
    uid = json.loads(spec.read_bytes())["uid"]
    other = "another-boot/" + uid.partition("/")[2]
    for file in (spec, job / "start.json"):
        file.write_text(file.read_text().replace(uid.partition("/")[0], "another-boot"))
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE call SET handle = replace(handle, ?, ?)", (uid, other))


def test_another_runtime_in_place_of_the_one(site: Any) -> None:
    site.serve()
    site.work()
    with site.closed_gate() as open_gate:
        execution = site.exec(site.container(site.passing))
        site.until_fact(execution, "call.parked")
        wrong = site.watch(runtime=site.folder / "another", at="comparison:after:say")
        wrong.until("nothing is judged")
        wrong.until("at comparison", 4)
        wrong.kill()
        assert "call.done" not in site.kinds(site.log(execution))
        open_gate()
        site.watch()
        ended_once(site, execution)


# -- the store -------------------------------------------------------------------------------------------------


def copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as whole, closing(sqlite3.connect(target)) as made:
        whole.backup(made)


def restore(site: Any, backup: Path) -> None:
    for name in (site.db, Path(f"{site.db}-wal"), Path(f"{site.db}-shm")):
        name.unlink(missing_ok=True)
    shutil.copy(backup, site.db)


def test_a_restored_store_does_not_know_a_job(site: Any) -> None:
    server = site.serve()
    worker = site.work()
    backup = site.folder / "backup.db"
    copy(site.db, backup)
    execution = site.exec(site.container())
    site.until_fact(execution, "call.parked")
    site.gone(site.process_of(site.job(), "supervisor"))
    worker.kill()
    server.kill()
    restore(site, backup)
    site.serve()
    watcher = site.watch(at="comparison:after:say")
    watcher.until("knows no call")
    watcher.until("at comparison", 3)
    assert len(watcher.said("knows no call")) == 1
    assert len(site.jobs()) == 1
    with pytest.raises(NotFoundError):
        site.ended(execution)


def test_a_restored_store_has_a_call_open_that_was_acknowledged(site: Any) -> None:
    server = site.serve()
    site.work()
    watcher = site.watch(at="release:after:say")
    backup = site.folder / "backup.db"
    with site.closed_gate() as open_gate:
        execution = site.exec(site.container(site.passing))
        site.until_fact(execution, "call.parked")
        copy(site.db, backup)
        open_gate()
        ended_once(site, execution)
        watcher.until("at release")
        assert site.jobs() == []
        server.kill()
        restore(site, backup)
        site.serve()
        ended_once(site, execution)
