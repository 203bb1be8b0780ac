"""The submitted bytes as a file object for PyAV."""

from __future__ import annotations


class Memory:
    """A file of bytes in memory, which are not copied.

    Attributes:
        view: the bytes.
        size: their number.
    """

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self._position = 0
        self.size = view.nbytes

    def read(self, size: int) -> bytes:
        """Read at most so many bytes."""
        part = bytes(self.view[self._position : self._position + size])
        self._position += len(part)
        return part

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
        self.view = memoryview(b"")
