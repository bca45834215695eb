"""Memory and CPU limits by control groups, where this process may make them: v2 delegated, or v1.

Groups are made below the group this process is in, so that its own limits hold for containers too.
On v2 a group with processes in it cannot hand controllers on, so there the parent is tried as well.
Standard library only: the supervisors use it.
"""

# ruff: noqa: PTH103, PTH106, PTH110, PTH120, PTH123 - pathlib would cost every supervisor memory

from __future__ import annotations

import os
import time

from portcall.runtime.process import tree

PERIOD_US = 100_000

Parents = dict[str, str]
"""Controller (`memory`, `cpu`) to the folder under which groups can be made."""


def detect(mountinfo: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> Parents:
    """Where limits can be enforced; a controller that cannot be used is absent."""
    try:
        places = _places(_lines(own))
        mounts = [line.split() for line in _lines(mountinfo)]
    except OSError:
        return {}
    found: Parents = {}
    for fields in mounts:
        dash = fields.index("-")
        kind, root, point = fields[dash + 1], fields[3], fields[4]
        if kind == "cgroup":
            for controller in {"memory", "cpu"} & set(fields[-1].split(",")) & set(places):
                _consider(found, controller, _below(point, root, places[controller]))
        elif kind == "cgroup2":
            _consider_v2(found, _below(point, root, places.get("", "/")), point)
    return found


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().splitlines()


def _places(lines: list[str]) -> dict[str, str]:
    """`4:memory:/a/b` lines as controller to path; v2 is the empty controller."""
    places = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            places[controller] = path
    return places


def _below(point: str, root: str, path: str) -> str:
    inside = path[len(root.rstrip("/")) :] if path.startswith(root) else ""
    return os.path.normpath(f"{point}/{inside}")


def _consider(found: Parents, controller: str, folder: str) -> None:
    if os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK):
        found.setdefault(controller, folder)


def _consider_v2(found: Parents, folder: str, point: str) -> None:
    candidates = [folder] if folder == point else [folder, os.path.dirname(folder)]
    for candidate in candidates:
        try:
            controllers = _lines(f"{candidate}/cgroup.subtree_control")
        except OSError:
            continue
        for controller in {"memory", "cpu"} & set(" ".join(controllers).split()):
            _consider(found, controller, candidate)


class Limits:
    """The groups of one container. What could not be enforced is absent from `enforced`."""

    def __init__(self, parents: Parents, name: str, memory: int | None, cpu: float | None) -> None:
        self.folders: list[str] = []
        self.enforced: set[str] = set()
        self._memory = ""
        if memory is not None and "memory" in parents:
            self._memory = self._make("memory", parents["memory"], name, _memory_settings(parents, memory))
        if cpu is not None and "cpu" in parents:
            self._make("cpu", parents["cpu"], name, _cpu_settings(parents, cpu))

    def _make(self, controller: str, parent: str, name: str, settings: list[tuple[str, str, bool]]) -> str:
        folder = f"{parent}/portcall-{name}"
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            return ""
        if folder not in self.folders:
            self.folders.append(folder)
        if all(_put(f"{folder}/{file}", value) or optional for file, value, optional in settings):
            self.enforced.add(controller)
        return folder

    def add(self, pid: int) -> None:
        for folder in self.folders:
            if not _put(f"{folder}/cgroup.procs", str(pid)):
                self.enforced.clear()

    def oom_kills(self) -> int:
        """How many of the container's processes the kernel killed for memory."""
        for file in ("memory.events", "memory.oom_control"):
            try:
                counters = dict(line.split() for line in _lines(f"{self._memory}/{file}"))
            except OSError:
                continue
            return int(counters.get("oom_kill", 0))
        return 0

    def remove(self) -> None:
        remove(self.folders)


def _memory_settings(parents: Parents, limit: int) -> list[tuple[str, str, bool]]:
    if os.path.exists(f"{parents['memory']}/memory.limit_in_bytes"):
        return [("memory.limit_in_bytes", str(limit), False), ("memory.memsw.limit_in_bytes", str(limit), True)]
    return [("memory.max", str(limit), False), ("memory.swap.max", "0", True)]


def _cpu_settings(parents: Parents, cores: float) -> list[tuple[str, str, bool]]:
    quota = max(1000, int(cores * PERIOD_US))
    if os.path.exists(f"{parents['cpu']}/cpu.shares"):
        return [("cpu.cfs_period_us", str(PERIOD_US), False), ("cpu.cfs_quota_us", str(quota), False)]
    return [("cpu.max", f"{quota} {PERIOD_US}", False)]


def _put(path: str, value: str) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def members(folder: str) -> list[int]:
    try:
        return [int(line) for line in _lines(f"{folder}/cgroup.procs")]
    except OSError:
        return []


def remove(folders: list[str]) -> None:
    """End what is left in the groups, and remove them."""
    for folder in folders:
        for _ in range(50):
            tree.send(9, members(folder))
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)  # the kernel has not yet let go of the last process
            else:
                break
