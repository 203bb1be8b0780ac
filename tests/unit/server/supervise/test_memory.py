from __future__ import annotations

from pathlib import Path

import pytest

from asr_backend.server.supervise import memory
from asr_backend.server.supervise.memory import Room


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A control group of version 2 with a limit, and /proc/self/cgroup beside it."""
    folder = tmp_path / "system.slice" / "asr-server.service"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text("1000\n")
    (folder / "memory.current").write_text("900\n")
    (folder / "memory.stat").write_text("anon 500\ninactive_file 300\n")
    (tmp_path / "own").write_text("0::/system.slice/asr-server.service\n")
    return folder


def test_what_the_kernel_can_drop_is_available(group: Path, tmp_path: Path) -> None:
    found = memory._cgroup_room(tmp_path, tmp_path / "own")
    assert found == Room(limit=1000, available=400)


def test_a_group_without_a_limit_bounds_nothing(group: Path, tmp_path: Path) -> None:
    (group / "memory.max").write_text("max\n")
    assert memory._cgroup_room(tmp_path, tmp_path / "own") is None
    (tmp_path / "own").write_text("5:memory:/of-version-1\n")
    assert memory._cgroup_room(tmp_path, tmp_path / "own") is None


@pytest.mark.parametrize("path", ["machine/group", "of-the-host/seen-from-a-container"])
def test_groups_of_version_1(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container sees its own group at the mount's root, and the host's path of it."""
    folder = tmp_path / "memory" / (path if path.startswith("machine") else "")
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("1000\n")
    (folder / "memory.usage_in_bytes").write_text("900\n")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 300\n")
    (tmp_path / "own").write_text(f"11:cpu,cpuacct:/\n4:memory:/{path}\n0::/\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    assert memory.rooms()["memory"] == Room(limit=1000, available=400)
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.rooms()["memory"].limit < 2**50


def test_the_lower_limit_counts(
    group: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    assert memory.rooms()["memory"] == Room(limit=1000, available=400)
    (group / "memory.max").write_text(f"{2**60}\n")
    machine = memory.rooms()["memory"]
    assert 0 < machine.available < machine.limit < 2**60
    shared = memory.rooms()["shared_memory"]
    assert 0 <= shared.available <= shared.limit
