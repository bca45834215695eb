"""Setting up finds a Python that will do, or says in a sentence what is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "find-python"
OLD = 'case "$2" in *print*) echo 3.9.2 ;; *) exit 1 ;; esac'
NEW = 'case "$2" in *print*) echo 3.12.1 ;; esac'
NO_VENV = 'case "$2" in *print*) echo 3.11.2 ;; *ensurepip*) exit 1 ;; esac'
SHIM_OF_NOTHING = "echo 'no such version' >&2; exit 127"


def found(folder: Path, **interpreters: str) -> subprocess.CompletedProcess[str]:
    """The answer where only these interpreters are on the PATH; `_` in a name is a dot."""
    for name, body in interpreters.items():
        file = folder / name.replace("_", ".")
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", SCRIPT], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


def test_takes_the_plain_name_when_it_will_do(tmp_path: Path) -> None:
    assert found(tmp_path, python3=NEW, python3_13=NEW).stdout == "python3\n"


def test_takes_a_newer_one_beside_an_old_python3(tmp_path: Path) -> None:
    assert found(tmp_path, python3=OLD, python3_13=SHIM_OF_NOTHING, python3_12=NEW).stdout == "python3.12\n"


def test_says_what_to_install_when_all_are_old(tmp_path: Path) -> None:
    answer = found(tmp_path, python3=OLD)
    assert answer.returncode == 1
    assert "no Python 3.11 or newer was found; there is python3 (3.9.2)" in answer.stderr


def test_says_what_to_install_when_there_is_none(tmp_path: Path) -> None:
    answer = found(tmp_path)
    assert answer.returncode == 1
    assert "no Python 3.11 or newer was found." in answer.stderr


def test_says_what_to_install_when_debian_left_ensurepip_out(tmp_path: Path) -> None:
    answer = found(tmp_path, python3=NO_VENV)
    assert answer.returncode == 1
    assert "apt install python3-venv" in answer.stderr
