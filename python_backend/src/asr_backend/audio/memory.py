"""The submitted bytes as a file object for PyAV."""

from __future__ import annotations

from collections.abc import Sequence


class Memory:
    """A file of bytes in memory, which are not copied.

    Args:
        view: the bytes.
        parts: the parts of them that the file has, first byte and the byte after the last; None if
            it has all.

    Attributes:
        size: the number of bytes in the file.
    """

    def __init__(self, view: memoryview, parts: Sequence[tuple[int, int]] | None = None) -> None:
        self._view = view
        self._parts = [(0, view.nbytes)] if parts is None else parts
        self._position = 0
        self.size = sum(end - start for start, end in self._parts)

    def part(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end` of the file, fewer at its end."""
        found = []
        before = 0
        for first, after in self._parts:
            size = after - first
            if before < end and start < before + size:
                offset = first - before
                found.append(self._view[max(first, start + offset) : min(after, end + offset)])
            before += size
        return b"".join(found)

    def read(self, size: int) -> bytes:
        """Read at most so many bytes."""
        found = self.part(self._position, self._position + size)
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as io.IOBase.seek; -1 for a place before the start."""
        position = (0, self._position, self.size)[whence] + offset
        if position < 0:
            return -1
        self._position = position
        return position

    def tell(self) -> int:
        """The position."""
        return self._position

    def at_end(self) -> bool:
        """Whether all bytes are read."""
        return self._position >= self.size

    def close(self) -> None:
        """Release the bytes."""
        # PyAV's objects refer to each other; the audio must not stay until that cycle is collected.
        self._view = memoryview(b"")
