"""The results of `asr batch`: a file of JSON lines that outlives whatever stops the command."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BEGIN = b'{"id": '
"""How each line begins; a file that begins otherwise is none of ours, and is left alone."""
_BINARY = getattr(os, "O_BINARY", 0)  # Windows


class ResultsError(Exception):
    """The file cannot be used; nothing in it was changed."""


class Results:
    """Appends results, and knows those that are there.

    A line is written by one call of the system, so that the end of this process cannot lose it,
    and is safe from the end of the machine after `sync`. What a write left unfinished is cut off,
    then or when the file is opened next.

    Args:
        path: made when it is missing.
        drop_failed: take the lines of failed recordings out, all at once or none.

    Raises:
        ResultsError: it is another kind of file, another process is writing to it, or it cannot be
            made.
        OSError: the disk fails, or is full.
    """

    def __init__(self, path: Path, *, drop_failed: bool = False) -> None:
        self.path = path = path.resolve()
        self.done: set[str | int] = set()
        """The ids of all lines."""
        self.failed: set[str | int] = set()
        """The ids of the failed ones among them."""
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
        """Append a result; raises OSError when the disk is full, for example."""
        text = json.dumps({"id": key, **fields}, ensure_ascii=False) + "\n"
        rest = memoryview(text.encode())
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
        """Return when all that was written is on the disk."""
        if self._dirty:
            os.fsync(self._file)
            self._dirty = False

    def _trim(self) -> None:
        """Cut off a line that a full disk or a signal left unfinished."""
        with contextlib.suppress(OSError):
            size = os.fstat(self._file).st_size
            if size > self._end and not self._whole(size):
                os.ftruncate(self._file, self._end)

    def _whole(self, size: int) -> bool:
        os.lseek(self._file, size - 1, os.SEEK_SET)
        return os.read(self._file, 1) == b"\n"

    def _scan(self) -> int:
        """Note the ids; return where the last whole line ends."""
        end = 0
        for text in self._lines():
            # A power cut may leave zeros where something was to be written.
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
    """Open a file that no other process has open here."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have put a new file in its place between the two steps.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BlockingIOError:
            os.close(file)
            raise ResultsError(f"another command is writing to {path}") from None
        except FileNotFoundError:
            pass
        os.close(file)


def _sync_folder(path: Path) -> None:
    """Make a new file's name last, where the system can."""
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
