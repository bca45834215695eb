"""The folders of a runtime's root: one for each job, made whole, set aside when acknowledged."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from portcall.errors import RejectedError, UnavailableError
from portcall.process import ProcessId, boot_id
from portcall.runtime.port import JobSpec, StagedFile
from portcall.runtime.process import cgroup, record, tree
from portcall.runtime.process.facts import Exit, Job, Record, exit_decoder, job_decoder, start_decoder
from portcall.runtime.process.plan import staged_paths

DONE = ".done"
NEW = ".new"
IDENTITY = ".identity"


@contextmanager
def away(doing: str) -> Iterator[None]:
    """A file system that cannot take a write now is a runtime that is away."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"The process runtime could not {doing}: {reason(error)}.") from error


def reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space"
    where = f" ({error.filename})" if error.filename else ""
    return f"{(error.strerror or str(error)).lower()}{where}"


class Folders:
    """All jobs below `root`, a folder that only its owner can read."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - links are kept as they are
        self.here = Path.cwd()
        """Where relative working folders start: that of portcall, not of its fork server."""
        self._jobs: dict[str, Job] = {}

    def prepare(self) -> None:
        with away(f"make its folder {self.root}"):
            for part in (self.root, self.root / DONE, self.root / NEW, self.root / record.BELLS):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)

    def identity(self) -> str:
        """`process:<uuid>`, made once for a root."""
        path = self.root / IDENTITY
        with away("read or make its identity"):
            if not path.exists():
                fresh = self.root / NEW / secrets.token_hex(8)
                fresh.write_text(f"process:{secrets.token_hex(16)}\n", encoding="ascii")
                with suppress(FileExistsError):
                    os.link(fresh, path)
                fresh.unlink()
            return path.read_text(encoding="ascii").strip()

    # -- one job ---------------------------------------------------------------------------------------

    def path(self, name: str) -> Path | None:
        """Where the job is, acknowledged or not."""
        if not name or name.startswith(".") or "/" in name:
            return None
        for _ in range(2):  # it may be set aside between the two looks
            for place in (self.root / name, self.root / DONE / name):
                if place.is_dir():
                    return place
        return None

    def make(self, spec: JobSpec, cluster: str) -> Job | None:
        """The job's folder with its spec and files, by one rename; None: there is one of this name already."""
        if self.path(spec.name) is not None:
            return None
        job = Job(cluster=cluster, created=time.time(), spec=spec)
        fresh = self.root / NEW / f"{spec.name}.{secrets.token_hex(4)}"
        try:
            fresh.mkdir(mode=0o700)
            record.write(f"{fresh}/{record.SPEC}", msgspec.json.encode(job))
            _stage(spec.files, str(fresh))
            fresh.rename(self.root / spec.name)
        except OSError as error:
            _remove_tree(fresh)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return None
            raise UnavailableError(f"The job {spec.name!r} could not be made: {reason(error)}.") from error
        if (self.root / DONE / spec.name).is_dir():  # the first one was set aside during the rename
            _remove_tree(self.root / spec.name)
            return None
        return job

    def job(self, path: Path) -> Job | None:
        """What was asked for; kept in memory, for it never changes. None: not there or not readable."""
        known = self._jobs.get(path.name)
        if known is None:
            try:
                known = job_decoder.decode(record.read(f"{path}/{record.SPEC}") or b"")
            except msgspec.DecodeError:
                return None
            self._jobs[path.name] = known
        return known

    def read(self, name: str) -> Record | None:
        """The job as its folder tells it; an end that nobody recorded is settled first."""
        path = self.path(name)
        job = None if path is None else self.job(path)
        if path is None or job is None:
            return None
        found = _read(path, job)
        return found if found.exit is not None else self._look_closer(path, found)

    def _look_closer(self, path: Path, found: Record) -> Record:
        if found.job.boot == boot_id():
            if found.start is None or not found.start.container:
                return found
            if ProcessId.parse(found.start.supervisor).alive():
                return found
        return settle(path, found.job)

    def forget(self, name: str) -> None:
        self._jobs.pop(name, None)

    # -- all jobs ------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Jobs that are not set aside."""
        with away("list its jobs"), os.scandir(self.root) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".")]

    def set_aside(self, name: str) -> None:
        """Out of the way of lists, but still found by name."""
        with away(f"set the job {name!r} aside"), suppress(FileNotFoundError):  # another has just done it
            (self.root / name).rename(self.root / DONE / name)
        self.forget(name)

    def sweep(self, older_than_seconds: float) -> int:
        """Remove what was set aside longer ago, and what a crash left half made; the number of jobs removed."""
        before = time.time() - older_than_seconds
        with away("sweep its folders"):
            gone = [path for path in (self.root / DONE).iterdir() if _older(path / record.ACKNOWLEDGED, before)]
            half = [
                path for path in (self.root / NEW).iterdir() if _older(path, min(before, time.time() - 3600))
            ]
        for path in [*gone, *half]:
            _remove_tree(path)
            self.forget(path.name)
        return len(gone)


def _remove_tree(path: Path) -> None:
    import shutil  # it takes its time to load

    shutil.rmtree(path, ignore_errors=True)


def _older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime <= before
    except FileNotFoundError:
        return False


def _stage(files: list[StagedFile], folder: str) -> None:
    places = staged_paths([file.path for file in files], folder)
    for file in files:
        place = Path(places[file.path])
        try:
            mode = int(file.mode, 8)
        except ValueError:
            text = f"The file {file.path!r} has the mode {file.mode!r}; write it in octal, such as 0755."
            raise RejectedError(text, reason="InvalidFile", state="failed_config") from None
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_text(file.content, encoding="utf-8")
        place.chmod(mode)


def _read(path: Path, job: Job) -> Record:
    start = record.read(f"{path}/{record.START}")
    end = record.read(f"{path}/{record.EXIT}")
    return Record(
        job=job,
        start=start_decoder.decode(start) if start else None,
        exit=exit_decoder.decode(end) if end else None,
        acknowledged=path.parent.name == DONE or (path / record.ACKNOWLEDGED).exists(),
    )


# -- a job without a supervisor ------------------------------------------------------------------------------


@contextmanager
def unattended(path: Path) -> Iterator[bool]:
    """Hold the job's lock, as its supervisor would; False: somebody else holds it."""
    fd = os.open(path / record.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(fd)


def settle(path: Path, job: Job, *, stopped: bool = False) -> Record:
    """End a job whose supervisor is gone, once: what may have run is `lost`.

    `stopped`: end one that nobody has started, too.
    """
    with away(f"settle the job {path.name!r}"), unattended(path) as mine:
        found = _read(path, job)
        if not mine or found.exit is not None:
            return found
        end = _unrecorded_end(path, found, stopped=stopped)
        if end is not None:
            record.write(f"{path}/{record.EXIT}", msgspec.json.encode(end), sync=True)
        return _read(path, job)


def _unrecorded_end(path: Path, found: Record, *, stopped: bool) -> Exit | None:
    now = time.time()
    if found.job.boot != boot_id():
        return Exit(finished=now, lost="reboot")
    if found.start is not None and found.start.container:
        _end_orphans(found)
        return Exit(finished=now, lost="supervisor")
    if not stopped:
        return None
    why = (record.read(f"{path}/{record.STOP}") or b"cancel").decode()
    return Exit(finished=now, started=False, ended_by="deadline" if why == "deadline" else "cancel")


def _end_orphans(found: Record) -> None:
    """Kill the container of a dead supervisor, and what is left of its session, its call and its groups."""
    start = found.start
    container = None if start is None else start.container_id
    if start is None or container is None:
        return
    below = tree.descendants(container.pid) if container.alive() else []
    leader = (
        container.pid if ProcessId.of(container.pid) in (None, container) else None
    )  # or the pid is another's
    container.signal(signal.SIGKILL)
    tree.send(signal.SIGKILL, [*below, *tree.left_behind(leader, f"PORTCALL_CALL_ID={found.job.spec.call_id}")])
    cgroup.remove(start.cgroups)
