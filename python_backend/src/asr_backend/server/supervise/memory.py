"""How much memory the server may take, and how much of it is left."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_SHARED = "/dev/shm"


@dataclass(frozen=True, kw_only=True)
class Room:
    """One kind of memory.

    Attributes:
        limit: bytes that may be taken.
        available: bytes of them that can still be taken, not below 0.
    """

    limit: int
    available: int


def rooms() -> dict[str, Room]:
    """By kind: `memory`, and `shared_memory`, through which the processes pass audio."""
    status = os.statvfs(_SHARED)
    shared = Room(
        limit=status.f_blocks * status.f_frsize, available=status.f_bavail * status.f_frsize
    )
    machine = psutil.virtual_memory()
    room = Room(limit=machine.total, available=machine.available)
    own = _cgroup_room(_CGROUPS, _OWN_CGROUP) or _cgroup_v1_room(_CGROUPS, _OWN_CGROUP)
    if own is not None and own.limit < room.limit:
        room = Room(limit=own.limit, available=min(own.available, room.available))
    return {"memory": room, "shared_memory": shared}


def _cgroup_room(mount: Path, own: Path) -> Room | None:
    """The room in this process's control group (version 2), None where it has no limit."""
    try:
        unified = [line for line in own.read_text().splitlines() if line.startswith("0::/")]
        folder = mount / unified[0].removeprefix("0::/")
        limit, used = (
            (folder / f"memory.{name}").read_text().strip() for name in ("max", "current")
        )
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, IndexError):
        return None
    if limit == "max":
        return None
    return _room(int(limit), int(used), int(counts.get("inactive_file", 0)))


def _cgroup_v1_room(mount: Path, own: Path) -> Room | None:
    """The same of version 1, where "no limit" is a number far above any machine's memory."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
        (path,) = [path for _, controllers, path in lines if "memory" in controllers.split(",")]
        folder = mount / "memory" / path.removeprefix("/")
        if not folder.is_dir():
            # In a container the path is the host's, and the mount begins at the own group.
            folder = mount / "memory"
        limit, used = (
            int((folder / f"memory.{name}_in_bytes").read_text()) for name in ("limit", "usage")
        )
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return _room(limit, used, int(counts.get("total_inactive_file", 0)))


def _room(limit: int, used: int, inactive_file: int) -> Room:
    # The kernel drops pages of files that nobody used lately before it runs out of memory.
    return Room(limit=limit, available=max(0, limit - used + inactive_file))
