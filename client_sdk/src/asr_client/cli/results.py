"""The results of `asr batch`: a file of JSON lines that survives the end of the command."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from asr_client.cli import documents

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BEGIN = b'{"id": '
"""The start of each line. A file with another start is not a results file, and is not changed."""
_BINARY = getattr(os, "O_BINARY", 0)  # Windows


class ResultsError(Exception):
    """The file cannot be used; it was not changed."""


class Results:
    """Appends results, and knows those that the file has.

    One system call writes a line, so that the end of this process cannot lose it. After `sync` it
    also survives a crash of the machine. An unfinished line is removed, at once or when the file
    is opened next.

    Args:
        path: the file; made if it is missing.
        drop_failed: remove the lines of failed recordings, all of them or none.

    Raises:
        ResultsError: the file has another format, another process writes to it, or it cannot be
            made.
        OSError: the disk has an error, or is full.
    """

    def __init__(self, path: Path, *, drop_failed: bool = False) -> None:
        self.path = path = path.resolve()
        self.done: set[str | int] = set()
        """The ids of all lines."""
        self.failed: set[str | int] = set()
        """The ids of the lines with an error."""
        if path.exists() and not path.is_file():
            raise ResultsError(f"{path} is not a file")
        try:
            self._file = _locked(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise ResultsError(f"{path}: {error.strerror}") from error
        try:
            self._end = self._scan()
            if drop_failed and self.failed:
                self._drop_failed()
            os.ftruncate(self._file, self._end)
            _sync_folder(path)
        except BaseException:
            os.close(self._file)
            raise
        self._dirty = False

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._trim()
            self.sync()
        finally:
            os.close(self._file)

    def write(self, key: str | int, fields: Mapping[str, Any]) -> None:
        """Append a result; raises OSError, for example when the disk is full."""
        rest = memoryview(documents.line({"id": key, **fields}).encode())
        size = len(rest)
        self._dirty = True
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            self._trim()
            raise
        self._end += size

    def sync(self) -> None:
        """Return when all results are on the disk."""
        if self._dirty:
            os.fsync(self._file)
            self._dirty = False

    def _trim(self) -> None:
        """Remove a line that a full disk or a signal left unfinished."""
        with contextlib.suppress(OSError):
            size = os.fstat(self._file).st_size
            if size > self._end and not self._whole(size):
                os.ftruncate(self._file, self._end)

    def _whole(self, size: int) -> bool:
        os.lseek(self._file, size - 1, os.SEEK_SET)
        return os.read(self._file, 1) == b"\n"

    def _scan(self) -> int:
        """Note the ids; returns the end of the last complete line."""
        end = 0
        for text in self._lines():
            # A power cut may leave zeros at the end of a file.
            if not text.endswith(b"\n") or b"\0" in text:
                begin = text.lstrip(b"\0")[: len(_BEGIN)]
                if not (_BEGIN.startswith(begin) and (begin or end)):
                    raise ResultsError(f"{self.path} is not a file of results")
                break
            try:
                fields = json.loads(text)
                key, failed = fields["id"], "error" in fields
                self.done.add(key)
            except (ValueError, KeyError, TypeError):
                raise ResultsError(f"{self.path} is not a file of results") from None
            if failed:
                self.failed.add(key)
            end += len(text)
        return end

    def _lines(self) -> Iterator[bytes]:
        with open(self._file, "rb", closefd=False) as file:
            file.seek(0)
            yield from file

    def _drop_failed(self) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        new = _locked(partial)
        try:
            with open(new, "wb", closefd=False) as file:
                file.truncate(0)
                for text in self._lines():
                    if text.endswith(b"\n") and "error" not in json.loads(text):
                        file.write(text)
                end = file.tell()
            os.fsync(new)
            partial.replace(self.path)
        except BaseException:
            os.close(new)
            partial.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file, self._end = new, end
        self.done -= self.failed
        self.failed = set()


def _locked(path: Path) -> int:
    """Open and lock a file; raises ResultsError if another process has locked it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have replaced the file between the two steps.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BlockingIOError:
            os.close(file)
            raise ResultsError(f"another command is writing to {path}") from None
        except FileNotFoundError:
            pass
        os.close(file)


def _sync_folder(path: Path) -> None:
    """Write a new file's name to the disk, if the system can."""
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
