"""Real processes: the commands as they are installed, started apart, waited for by what they say."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from portcall.client.http import HttpClient
from portcall.model import event as e
from portcall.process import ProcessId

GUARD_SECONDS = 20.0
"""After which a test that waits for what never comes is failed."""
HERE = Path(__file__).parent
TOKEN = "a-token-for-these-processes"  # noqa: S105 - it guards nothing
FAST = {
    "PORTCALL_LEASE_SECONDS": "1",
    "PORTCALL_COMPARISON_SECONDS": "1",
    "PORTCALL_LOST_CONFIRM_SECONDS": "1",
    "PORTCALL_LOG_FORMAT": "json",
}


class Process:
    """A process in a session of its own, whose lines on standard error are kept."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        self.popen = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self.lines.append("<end>")
            self._said.notify_all()

    def said(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def until(self, text: str, times: int = 1) -> str:
        """The line that says so, when it has been said so many times."""

        def ready() -> bool:
            return len(self.said(text)) >= times or self.lines[-1:] == ["<end>"]

        with self._said:
            ended = self._said.wait_for(ready, GUARD_SECONDS)
        found = self.said(text)
        assert ended, self.text(f"{text!r} was not said in time")
        assert len(found) >= times, self.text(f"it ended without saying {text!r}")
        return found[times - 1]

    def text(self, why: str) -> str:
        return "\n".join([why, *self.lines[-40:]])

    def ended(self) -> int:
        """Its exit code, when it has ended."""
        try:
            return self.popen.wait(GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.text("it did not end")) from None

    def output(self) -> str:
        self.ended()
        assert self.popen.stdout is not None
        return self.popen.stdout.read()

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.ended()

    def close(self) -> None:
        self.kill()
        self._reader.join()
        for stream in (self.popen.stdout, self.popen.stderr):
            assert stream is not None
            stream.close()


class Bell:
    """A named pipe: what runs elsewhere writes lines to it, for which a test waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def until(self, lines: int = 1) -> None:
        heard = 0
        while heard < lines:
            ready, _, _ = select.select([self._fd], [], [], GUARD_SECONDS)
            assert ready, f"{heard} of {lines} lines came through {self.path}"
            heard += os.read(self._fd, 4096).count(b"\n")

    def close(self) -> None:
        os.close(self._fd)


def playbook(*steps: dict[str, Any]) -> str:
    described = {"apiVersion": "noetl.io/v2", "kind": "Playbook", "workflow": list(steps)}
    return json.dumps(described | {"metadata": {"name": "system", "path": "test/system"}})


def process_of(job: Path, which: str) -> ProcessId:
    """The `supervisor` or the `container` of a job."""
    return ProcessId.parse(json.loads((job / "start.json").read_bytes())[which])


def gone(process: ProcessId) -> None:
    """Wait until a process that is not our child has ended."""
    descriptor = process.open()
    if descriptor is not None:
        ended, _, _ = select.select([descriptor], [], [], GUARD_SECONDS)
        os.close(descriptor)
        assert ended, f"{process} did not end"


def kinds(log: list[e.Event]) -> list[str]:
    return [e.type_of(event) for event in log]


class Site:
    """One installation below a folder: its processes, its client, and the files its containers write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = folder / "portcall.db"
        self.runtime = folder / "containers"
        self.ran = folder / "ran"
        self.url = ""
        self._processes: list[Process] = []
        self._bells: list[Bell] = []
        mine = {key: value for key, value in os.environ.items() if not key.startswith("PORTCALL_")}
        self.env = {**mine, "RAN": str(self.ran), "NO_COLOR": "1"}

    # -- processes -----------------------------------------------------------------------------

    def start(self, *arguments: str, at: str = "", env: dict[str, str] | None = None) -> Process:
        """`portcall ARGUMENTS`. `at`: what it does to itself, and where; see die.py."""
        line = [sys.executable, str(HERE / "die.py"), at] if at else [sys.executable, "-m", "portcall.cli"]
        process = Process([*line, *arguments], {**self.env, **(env or {})}, self.folder)
        self._processes.append(process)
        return process

    def cli(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        """What `portcall ARGUMENTS` prints; it must end with this code."""
        process = self.start(*arguments, env=env)
        printed = process.output()
        assert process.ended() == code, process.text(f"{arguments}: {printed}")
        process.close()
        return printed if code == 0 else "\n".join(process.lines[:-1])

    def serve(self, *arguments: str, at: str = "") -> Process:
        """A server, on the port of the one before it."""
        port = self.url.rpartition(":")[2] or "0"
        self.env |= FAST | {"PORTCALL_TOKEN": TOKEN}
        process = self.start("server", "--db", str(self.db), "--port", port, *arguments, at=at)
        line = process.until("listening on")
        self.url = line.partition("listening on ")[2].partition(",")[0]
        self.env["PORTCALL_SERVER"] = self.url
        return process

    def work(self, *arguments: str, at: str = "", runtime: Path | None = None) -> Process:
        root = str(runtime or self.runtime)
        process = self.start("worker", "--runtime-root", root, *arguments, at=at)
        process.until("portcall worker:")
        return process

    def watch(self, *arguments: str, at: str = "", runtime: Path | None = None) -> Process:
        root = str(runtime or self.runtime)
        process = self.start("container-watcher", "--runtime-root", root, *arguments, at=at)
        process.until("portcall container-watcher:")
        return process

    def close(self) -> None:
        """End every process, and every container that is left."""
        for process in self._processes:
            process.close()
        for bell in self._bells:
            bell.close()
        for start in self.folder.glob("*/pc-*/start.json"):
            supervisor = ProcessId.parse(json.loads(start.read_bytes())["supervisor"])
            supervisor.signal(signal.SIGKILL)

    # -- executions ----------------------------------------------------------------------------

    def file(self, text: str, name: str = "playbook.yaml") -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def exec(self, *steps: dict[str, Any], arguments: tuple[str, ...] = ()) -> str:
        """Register a playbook of these steps and start it; the execution's id."""
        self.cli("register", self.file(playbook(*steps)))
        return str(
            json.loads(self.cli("exec", "test/system", "--no-wait", "--json", *arguments))["execution_id"]
        )

    def client(self, use: Callable[[HttpClient], Any]) -> Any:
        async def work() -> Any:
            client = HttpClient(self.url, TOKEN)
            try:
                async with asyncio.timeout(GUARD_SECONDS):
                    return await use(client)
            finally:
                await client.close()

        return asyncio.run(work())

    def until(self, execution: str, holds: Callable[[list[e.Event]], bool]) -> list[e.Event]:
        """The log of the execution, once this holds of it."""

        async def work(client: HttpClient) -> list[e.Event]:
            log: list[e.Event] = []
            while not holds(log):
                log += await client.events(execution, after=len(log), wait_seconds=20)
            return log

        found = self.client(work)
        assert isinstance(found, list)
        return found

    def until_fact(self, execution: str, kind: str, times: int = 1) -> list[e.Event]:
        return self.until(execution, lambda log: kinds(log).count(kind) >= times)

    def ended(self, execution: str) -> Any:
        """The execution's view, when it has ended."""

        async def work(client: HttpClient) -> Any:
            view = await client.execution(execution)
            while view.ended is None:
                view = await client.execution(execution, after=view.seq, wait_seconds=20)
            return view

        return self.client(work)

    def log(self, execution: str) -> list[e.Event]:
        async def work(client: HttpClient) -> list[e.Event]:
            return await client.events(execution, limit=10_000)

        found = self.client(work)
        assert isinstance(found, list)
        return found

    # -- containers ----------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """One for each container that has begun."""
        return self.ran.read_text().splitlines() if self.ran.exists() else []

    def container(self, script: str = "true", step: str = "start", **fields: Any) -> dict[str, Any]:
        """A step whose container writes its call's id into `ran` when it begins."""
        command = ["sh", "-c", f"echo $PORTCALL_CALL_ID >> {self.ran}; {script}"]
        return {"step": step, "tool": {"kind": "container", "result": "none", "command": command, **fields}}

    @property
    def passing(self) -> str:
        """A script that waits at the closed gate."""
        return f"flock -s {self.folder}/gate true"

    @contextmanager
    def closed_gate(self) -> Iterator[Callable[[], None]]:
        """Keep containers waiting, until what this gives is called."""
        gate = os.open(self.folder / "gate", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(gate, fcntl.LOCK_EX)
        try:
            yield lambda: fcntl.flock(gate, fcntl.LOCK_UN)
        finally:
            os.close(gate)

    def job(self) -> Path:
        """The folder of the one job that is not set aside."""
        (found,) = self.jobs()
        return found

    def bell(self) -> Bell:
        self._bells.append(Bell(self.folder / f"bell{len(self._bells)}"))
        return self._bells[-1]

    playbook = staticmethod(playbook)
    process_of = staticmethod(process_of)
    gone = staticmethod(gone)
    kinds = staticmethod(kinds)

    def jobs(self) -> list[Path]:
        """The folders of the jobs that are not set aside."""
        return sorted(self.runtime.glob("pc-*"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def site_type() -> type[Site]:
    return Site
