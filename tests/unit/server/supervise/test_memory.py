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
