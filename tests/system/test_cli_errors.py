"""Whatever goes wrong: one plain sentence on stderr, the documented exit code, and no traceback."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

GOOD = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: good, path: test/good}
workflow:
  - step: start
    tool: {kind: noop, result: {ok: 1}}
"""
CLOSED = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""


def container(*command: str) -> str:
    tool = {"kind": "container", "command": list(command)}
    return _playbook(tool)


def _playbook(tool: Mapping[str, object]) -> str:
    head = {"apiVersion": "noetl.io/v2", "kind": "Playbook", "metadata": {"name": "x", "path": "test/x"}}
    return json.dumps(head | {"workflow": [{"step": "start", "tool": tool}]})


FILES: dict[str, str | bytes] = {
    "good.yaml": GOOD,
    "binary.yaml": bytes(range(128, 256)) * 8,
    "nul.yaml": "apiVersion: noetl.io/v2\nkind: Play\0book\n",
    "empty.yaml": "",
    "broken.yaml": "apiVersion: noetl.io/v2\nmetadata: {name: x\nworkflow: []\n",
    "keys.yaml": GOOD.replace("- step: start", "- step: start\n    retries: 3"),
    "step.yaml": GOOD + "    next: [{step: nowhere}]\n",
    "list.json": "[1, 2]",
    "notdb": "this is no database, and it is long enough to be sure of that",
    "python.yaml": container("python3", "-c", "print(1)"),
    "wrong_command.yaml": container("no-such-program"),
    "exception.yaml": _playbook({"kind": "python", "code": "x = 1\nresult = x / 0"}),
    "refused.yaml": _playbook({"kind": "http", "url": f"{CLOSED}/x"}),
    "exit.yaml": container("sh", "-c", "echo the last words; exit 3"),
}

# (command line, exit code, what the sentence says)
WRONG: list[tuple[str, int, list[str]]] = [
    ("run missing.yaml", 2, ["missing.yaml", "no such file"]),
    ("run folder", 2, ["folder", "is a directory"]),
    ("run binary.yaml", 2, ["binary.yaml", "not UTF-8"]),
    ("run nul.yaml", 2, ["nul.yaml:2:11", "control characters", "^"]),
    ("run empty.yaml", 2, ["empty.yaml is empty"]),
    ("run broken.yaml", 2, ["broken.yaml:3:9", "Not YAML", "^", "1 problem in broken.yaml"]),
    ("validate keys.yaml", 2, ["keys.yaml:7:5", "`retries`", "^^^^^^^", "did you mean `retry`?"]),
    ("run step.yaml", 2, ["step.yaml:8:19", "no step `nowhere`", "nothing was started"]),
    ("run good.yaml --set epochs", 2, ["--set 'epochs'", "key=value"]),
    ("run good.yaml --set a=1 --set a.b=2", 2, ["--set a.b=...", "already a value"]),
    ("run good.yaml --input missing.json", 2, ["missing.json", "no such file"]),
    ("run good.yaml --input list.json", 2, ["list.json", "mapping"]),
    ("run good.yaml --input broken.yaml", 2, ["broken.yaml", "line 3, column 9"]),
    ("run good.yaml --credential c={secret-word", 2, ["Credential c", "JSON object"]),
    ("run good.yaml --credential c=missing.json", 2, ["Credential c", "missing.json"]),
    ("run good.yaml --catalog missing", 2, ["--catalog", "missing"]),
    ("run good.yaml --db folder", 2, ["folder", "is a directory"]),
    ("run good.yaml --db notdb", 2, ["notdb", "not a portcall database"]),
    ("run good.yaml --db notdb/x.db", 2, ["notdb is a file, not a folder"]),
    ("run good.yaml --db /proc/x.db", 2, ["/proc/x.db"]),
    ("run good.yaml --db /proc/x/y.db", 2, ["/proc/x", "cannot be made"]),
    ("run good.yaml --runtime docker", 2, ["--runtime docker is not in this version"]),
    ("run good.yaml --slots 0", 2, ["--slots", "range"]),
    ("run good.yaml --slots many", 2, ["--slots", "whole number"]),
    ("run good.yaml --nonsense", 2, ["--nonsense", "Try: portcall run --help"]),
    ("run", 2, ["FILE"]),
    ("shwo last", 2, ["Did you mean 'show'?"]),
    ("show 123 --db good.db", 2, ["no execution 123"]),
    ("show nonsense --db good.db", 2, ["no execution 'nonsense'"]),
    ("show last --db missing.db", 2, ["no database at missing.db"]),
    ("ps --db notdb", 2, ["not a portcall database"]),
    ("events 123 --db good.db", 2, ["no execution 123"]),
    ("logs last nowhere --db good.db", 2, ["no step 'nowhere'", "start"]),
    ("cancel last --db good.db", 2, ["has ended already: completed"]),
    ("replay 123 --db good.db", 2, ["no execution 123"]),
    ("resume 123 --db good.db", 2, ["no execution 123"]),
    ("resume --db notdb", 2, ["not a portcall database"]),
    ("ps --server nonsense", 2, ["--server", "not a URL"]),
    (f"ps --server {CLOSED} --db good.db", 2, ["exclude each other"]),
    (f"ps --server {CLOSED}", 3, [CLOSED, "cannot be reached"]),
    (f"exec test/good --server {CLOSED}", 3, [CLOSED, "cannot be reached"]),
    (f"register good.yaml --server {CLOSED}", 3, [CLOSED, "cannot be reached"]),
    ("server --port 99999", 2, ["--port", "65535"]),
    ("server --host 0.0.0.0", 2, ["without a token"]),
    ("server --config missing.toml", 2, ["missing.toml"]),
    ("worker --slots 0", 2, ["--slots"]),
    ("worker --runtime docker", 2, ["docker", "not in this version"]),
]

# Executions that fail: the sentence is in what is printed, and the exit code is 1.
FAILING = [
    ("wrong_command.yaml", "'no-such-program' could not be started"),
    ("exit.yaml", "exit code 3"),
    ("exit.yaml", "| the last words"),
    ("exception.yaml", "ZeroDivisionError: division by zero (line 2 of the step's code)"),
    ("refused.yaml", f"GET {CLOSED}/x failed"),
]


@pytest.fixture(scope="module")
def site_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file for each thing that can be wrong, and a database with one execution."""
    folder = tmp_path_factory.mktemp("errors")
    for name, body in FILES.items():
        data = body if isinstance(body, bytes) else body.encode()
        (folder / name).write_bytes(data)
    (folder / "folder").mkdir()
    assert portcall(folder, "run", "good.yaml", "--db", "good.db", "-q").returncode == 0
    return folder


def portcall(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "portcall.cli", *arguments]
    return run(folder, line, **env)


def run(folder: Path, line: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PORTCALL_")}
    return subprocess.run(
        line, cwd=folder, env=mine | env, capture_output=True, text=True, timeout=60, check=False
    )


def one_sentence(done: subprocess.CompletedProcess[str], code: int, words: list[str]) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert "could not go on: " not in said
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(("line", "code", "words"), WRONG, ids=[line for line, _, _ in WRONG])
def test_what_is_wrong_is_said(site_files: Path, line: str, code: int, words: list[str]) -> None:
    done = portcall(site_files, *line.split())
    one_sentence(done, code, words)
    assert "secret-word" not in done.stderr
    own = [text for text in done.stderr.splitlines() if text.startswith("portcall: ")]
    assert len(own) == (0 if line.startswith("validate") else 1)


@pytest.mark.parametrize(("file", "sentence"), FAILING)
def test_an_execution_that_fails_says_why(site_files: Path, file: str, sentence: str) -> None:
    done = portcall(site_files, "run", file, "--db", "failing.db")
    assert done.returncode == 1
    assert sentence in done.stdout
    assert done.stderr == ""


def test_a_machine_with_nothing_on_its_path(site_files: Path, tmp_path: Path) -> None:
    python = portcall(site_files, "run", "python.yaml", "--db", "failing.db", PATH=str(tmp_path))
    assert python.returncode == 0, "the interpreter of portcall is there for containers"
    shell = portcall(site_files, "run", "exit.yaml", "--db", "failing.db", PATH=str(tmp_path))
    assert shell.returncode == 1
    assert "'sh' could not be started" in shell.stdout
    assert "this machine's PATH" in shell.stdout


def test_a_folder_that_cannot_be_written(site_files: Path, tmp_path: Path) -> None:
    (tmp_path / ".portcall").write_text("in the way")
    file = str(site_files / "good.yaml")
    one_sentence(portcall(tmp_path, "run", file), 2, [".portcall is a file, not a folder"])
    one_sentence(portcall(tmp_path, "run", file, "--detach"), 2, [".portcall is a file, not a folder"])


def test_output_that_cannot_be_written(site_files: Path) -> None:
    shell = f"exec {sys.executable} -P -m portcall.cli show last --db good.db > /dev/full"
    done = run(site_files, ["sh", "-c", shell])
    assert done.returncode == 3
    assert done.stderr == "portcall: could not go on: no space left on device\n"


def test_a_reader_that_has_gone_is_no_error(site_files: Path) -> None:
    shell = f"{sys.executable} -P -m portcall.cli events last --db good.db | true"
    done = run(site_files, ["sh", "-c", shell])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_disk_that_is_full_loses_nothing(site_files: Path, tmp_path: Path) -> None:
    """On a file system of its own, in a namespace of its own, where the machine allows one."""
    unshare = shutil.which("unshare")
    inside = [str(unshare), "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=700k none {tmp_path}"
    if unshare is None or run(tmp_path, [*inside, mount]).returncode:
        pytest.skip("no namespace with a small file system can be made here")
    code = "result = {'text': 'x' * 20000}"
    loop = {"in": list(range(100)), "iterator": "n", "spec": {"mode": "sequential"}}
    playbook = json.loads(_playbook({"kind": "python", "code": code}))
    playbook["workflow"][0]["loop"] = loop
    (site_files / "big.yaml").write_text(json.dumps(playbook))
    cli = f"{sys.executable} -P -m portcall.cli"
    db = tmp_path / "x.db"
    script = f"{mount}; {cli} run big.yaml -q --db {db}; code=$?; "
    script += f"mount -o remount,size=40m {tmp_path}; "
    script += f"{cli} resume last -q --db {db} >&2 && {cli} replay last --db {db} >&2; exit $code"
    done = run(site_files, [*inside, script])
    assert done.returncode == 3, done.stderr
    assert "is full: make room; nothing was lost; then go on with: portcall resume" in done.stderr
    assert "fold to the same state" in done.stderr
    assert "Traceback" not in done.stderr


# -- a server -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(site_files: Path) -> Iterator[str]:
    """The URL of a server that wants the token `right`."""
    line = [sys.executable, "-P", "-m", "portcall.cli", "server", "--db", "served.db", "--port", "0"]
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PORTCALL_")}
    with subprocess.Popen(
        [*line, "--token", "right"], cwd=site_files, env=mine, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = next(text for text in process.stderr if "listening on" in text)
        yield said.partition("listening on ")[2].partition(",")[0]
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("ps", 3, ["carries no token", "PORTCALL_TOKEN"]),
        ("ps --token wrong", 3, ["another token", "PORTCALL_TOKEN"]),
        ("exec test/none --token wrong", 3, ["another token"]),
        ("exec test/none --token right", 2, ["no playbook 'test/none'"]),
        ("show 123 --token right", 2, ["no execution 123"]),
        ("cancel 123 --token right", 2, ["no execution 123"]),
        ("register broken.yaml --token right", 2, ["broken.yaml:3:9", "^", "nothing was registered"]),
    ],
)
def test_what_a_server_refuses_is_said(
    site_files: Path, served: str, line: str, code: int, words: list[str]
) -> None:
    done = portcall(site_files, *line.split(), "--server", served)
    one_sentence(done, code, words)
    assert "right" not in done.stderr


def test_a_port_that_is_taken(site_files: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = portcall(site_files, "server", "--db", "other.db", "--port", port)
    one_sentence(done, 2, [port, "in use", "--port"])


# -- a terminal ---------------------------------------------------------------------------------


def test_an_interrupt_on_a_terminal_leaves_it_clean_and_says_how_to_go_on(site_files: Path) -> None:
    (site_files / "long.yaml").write_text(container("sleep", "600"))
    line = [sys.executable, "-P", "-m", "portcall.cli", "run", "long.yaml", "--db", "long.db"]
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PORTCALL_")}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(site_files)
        os.execve(  # noqa: S606 - our own interpreter and module
            line[0], line, mine | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
        )
    said = b""
    while b"1 container in flight" not in said:
        said += os.read(terminal, 65536)
    os.write(terminal, b"\x03")
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:
        # How Linux says that nobody has the other side open any more.
        chunk = b""
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert b"\x1b[?25l" not in said, "the cursor was hidden"
    last = said.rpartition(b"\x1b[2K")[2].decode()
    assert "portcall: interrupted" in last
    assert "portcall resume" in last
    assert "Traceback" not in said.decode()
    done = portcall(site_files, "cancel", "last", "--db", "long.db")
    assert done.returncode == 0, done.stderr
