"""Where limits can be kept, by the tables of other machines, and how they are written."""

from __future__ import annotations

from pathlib import Path

from portcall.runtime.process import cgroup

V1 = "30 25 0:26 {root} {point} rw - cgroup cgroup rw,{controllers}"
V2 = "31 25 0:27 / {point} rw - cgroup2 cgroup2 rw"


def group(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    (path / "cgroup.procs").write_text("")
    for name, text in files.items():
        (path / name.replace("_", ".", 1)).write_text(text)
    return path


def detect(tmp_path: Path, mounts: list[str], own: list[str]) -> cgroup.Parents:
    (tmp_path / "mountinfo").write_text("".join(f"{line}\n" for line in mounts))
    (tmp_path / "own").write_text("".join(f"{line}\n" for line in own))
    return cgroup.detect(str(tmp_path / "mountinfo"), str(tmp_path / "own"))


def test_version_1(tmp_path: Path) -> None:
    group(tmp_path / "memory" / "user" / "a")
    group(tmp_path / "cpu")
    mounts = [
        V1.format(root="/", point=tmp_path / "memory", controllers="memory"),
        V1.format(root="/", point=tmp_path / "cpu", controllers="cpu,cpuacct"),
    ]
    found = detect(tmp_path, mounts, ["4:memory:/user/a", "2:cpu,cpuacct:/"])
    assert found == {"memory": str(tmp_path / "memory/user/a"), "cpu": str(tmp_path / "cpu")}


def test_version_1_inside_a_container(tmp_path: Path) -> None:
    group(tmp_path / "memory")
    mounts = [V1.format(root="/docker/1", point=tmp_path / "memory", controllers="memory")]
    assert detect(tmp_path, mounts, ["4:memory:/docker/1"]) == {"memory": str(tmp_path / "memory")}


def test_version_2_uses_the_group_above_when_ours_hands_nothing_on(tmp_path: Path) -> None:
    above = group(tmp_path / "app.slice", cgroup_subtree_control="memory cpu pids\n")
    group(above / "run.scope", cgroup_subtree_control="\n")
    found = detect(tmp_path, [V2.format(point=tmp_path)], ["0::/app.slice/run.scope"])
    assert found == {"memory": str(above), "cpu": str(above)}


def test_no_groups(tmp_path: Path) -> None:
    assert detect(tmp_path, [], ["0::/"]) == {}
    assert cgroup.detect(str(tmp_path / "absent"), str(tmp_path / "absent")) == {}


def test_a_parent_that_cannot_be_written_enforces_nothing(tmp_path: Path) -> None:
    limits = cgroup.Limits({"memory": str(tmp_path / "a-file/x"), "cpu": "/proc/self"}, "job", 1 << 20, 1.0)
    limits.add(1 << 22)
    assert (limits.enforced, limits.oom_kills()) == (set(), 0)
    limits.remove()


def test_what_version_2_is_told(tmp_path: Path) -> None:
    folder = group(
        tmp_path / "portcall-job",
        memory_max="max",
        memory_swap="",
        cpu_max="max 100000",
        memory_events="low 0\noom 3\noom_kill 2\n",
    )
    (folder / "memory.swap.max").write_text("max")
    parents = {"memory": str(tmp_path), "cpu": str(tmp_path)}
    limits = cgroup.Limits(parents, "job", 64 << 20, 1.5)
    limits.add(4242)
    assert limits.enforced == {"memory", "cpu"}
    assert (folder / "memory.max").read_text() == str(64 << 20)
    assert (folder / "cpu.max").read_text().startswith("150000 100000")
    assert (folder / "cgroup.procs").read_text() == "4242"
    assert limits.oom_kills() == 2
