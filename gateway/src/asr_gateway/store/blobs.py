"""The recordings of jobs that have not ended, each in a file of the folder `--blobs`."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from asr_gateway.console import StartError

_NAME = re.compile(r"(job_[0-9a-f]{28})(\.part)?")


class Blobs:
    """Files by job id; every method may block.

    Args:
        folder: is made, for its owner alone; belongs to one store.

    Raises:
        StartError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"--blobs {folder}: {error}") from None
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise StartError(f"--blobs {folder}: not a folder that can be written")

    def path(self, id: str) -> Path:
        """Where a job's recording lies."""
        return self._folder / id

    def keep(self, id: str, file: BinaryIO) -> None:
        """Copy a recording; it is on disk, under its name, when this returns.

        Raises:
            OSError: it is not; nothing is left of it.
        """
        part = self._folder / f"{id}.part"
        try:
            with open(part, "xb", opener=_for_the_owner) as copy:
                file.seek(0)
                shutil.copyfileobj(file, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            part.replace(self.path(id))
            self._sync_folder()
        except BaseException:
            part.unlink(missing_ok=True)
            self.path(id).unlink(missing_ok=True)
            raise

    def remove(self, id: str) -> None:
        """Delete a job's recording, if it is there."""
        self.path(id).unlink(missing_ok=True)

    def found(self) -> Iterator[tuple[str, str, float]]:
        """Job id, file name and age in seconds of each recording, half-written ones too."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = _NAME.fullmatch(entry.name)
                if name is None:
                    continue
                try:
                    age_s = time.time() - entry.stat().st_mtime
                except FileNotFoundError:
                    continue
                yield name[1], entry.name, age_s

    def remove_file(self, name: str) -> None:
        """Delete a file that `found` named, if it is still there."""
        (self._folder / name).unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """Sum of all recordings."""
        total = 0
        for _, name, _ in self.found():
            try:
                total += (self._folder / name).stat().st_size
            except FileNotFoundError:
                continue
        return total

    def free_bytes(self) -> int:
        """What the folder's disk has left for this user."""
        return shutil.disk_usage(self._folder).free

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
