"""The folder of --cache-dir: what asr-server has measured and prepared for checkpoints.

Several servers may share it. An entry is made beside its place and renamed to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from asr_backend.checkpoint.prepared import BrokenEntryError, Entry, read_entry

_KEPT = 8
"""Entries that are kept; those that were not used for the longest time are removed."""
_UNFINISHED = "unfinished-"
_ABANDONED_S = 3600.0
"""Age of an unfinished entry whose maker has ended."""


class CacheDirectory:
    """A folder that only its owner can change.

    Args:
        path: made with mode 0700 where it does not exist.

    Raises:
        OSError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        # Whoever can write there chooses what the network computes.
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(0, "others may write there", str(path))
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(0, "it cannot be written", str(path))

    def place(self, key: str) -> Path:
        """The folder of an entry, which need not exist."""
        return self._path / key

    def read(self, key: str) -> Entry | None:
        """An entry as it was written; None if there is none or it is broken."""
        with contextlib.suppress(BrokenEntryError):
            entry = read_entry(self.place(key))
            # The time of its last use.
            with contextlib.suppress(OSError):
                os.utime(self.place(key))
            return entry
        return None

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[Path]:
        """An empty folder for a new entry; removed at the end if it was not published.

        Raises:
            OSError: it cannot be made.
        """
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._path))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, key: str) -> Entry | None:
        """Move a complete entry to its place; one of another server, if it is whole, stays.

        Returns:
            The entry that is there then; None if it is broken, or was removed at once.

        Raises:
            OSError: it cannot be moved.
        """
        place = self.place(key)
        if place.exists() and (there := self.read(key)):
            return there
        # A folder that is not empty cannot be replaced by a rename. The broken one goes first.
        with contextlib.suppress(FileNotFoundError), self.unfinished() as aside:
            place.rename(aside)
        try:
            folder.rename(place)
        except OSError as error:
            # Another server was faster.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        self._remove_old()
        return self.read(key)

    def _remove_old(self) -> None:
        """Remove what was not used for the longest time, and what nobody finished."""
        with contextlib.suppress(OSError):
            folders = sorted(self._path.iterdir(), key=_mtime, reverse=True)
            entries = [each for each in folders if not each.name.startswith(_UNFINISHED)]
            old = [each for each in folders if each not in entries and _is_abandoned(each)]
            for each in [*entries[_KEPT:], *old]:
                shutil.rmtree(each, ignore_errors=True)


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_abandoned(path: Path) -> bool:
    return time.time() - _mtime(path) > _ABANDONED_S
