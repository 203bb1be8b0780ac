"""The audio of `asr stream`: standard input or a file, as WAV or raw PCM."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, BinaryIO

from asr_client._stream.form import Form, whole_bytes
from asr_client._stream.wav import read_header
from asr_client._types import Encoding

READ_BYTES = 1 << 14
_WAV = (b"RIFF", b"RF64")
_OTHERS = (b"fLaC", b"OggS", b"ID3")
"""Files that sound like noise if they are taken for raw samples."""


@dataclass(frozen=True, kw_only=True)
class LiveSource:
    """Raw PCM from a pipe or a file."""

    sample_rate: int
    channels: int
    encoding: Encoding
    read: Callable[[int], bytes]
    """Gives what is there, at most so many bytes; none at the end."""
    data_bytes: int | None = None
    """Where the samples end; None means at the end of the file."""

    def chunks(self, ctrl_c: CtrlC) -> Iterator[bytes]:
        """All audio in whole frames, up to the end or to Ctrl-C; only the end may cut a frame."""
        left = self.data_bytes
        form = Form(encoding=self.encoding, sample_rate=self.sample_rate, channels=self.channels)
        rest = b""
        while left is None or left > 0:
            size = READ_BYTES if left is None else min(READ_BYTES, left)
            data = ctrl_c.during(functools.partial(self.read, size))
            if not data:
                break
            if left is not None:
                left -= len(data)
            data = rest + data
            whole = whole_bytes(data, form)
            rest = data[whole:]
            yield data[:whole]
        if not ctrl_c.stopped:
            yield rest


def open_source(
    file: BinaryIO, *, sample_rate: int | None, channels: int | None, encoding: Encoding | None
) -> LiveSource:
    """Read a WAV header, if there is one; without one, the arguments describe the samples.

    Raises:
        ValueError: the header is broken, or a rate is missing or comes twice.
    """
    # A pipe gives what it has; `read` would wait until everything is there.
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    head = b""
    while len(head) < 4 and (more := read(4 - len(head))):
        head += more
    rest = _Reader(head, read)
    if head in _WAV:
        if (sample_rate, channels, encoding) != (None, None, None):
            raise ValueError(
                "--sample-rate, --channels and --encoding are for raw samples, not for a WAV"
            )
        form = read_header(rest)
        return LiveSource(
            sample_rate=form.sample_rate,
            channels=form.channels,
            encoding=form.encoding,
            read=rest,
            data_bytes=form.data_bytes,
        )
    if sample_rate is None or head.startswith(_OTHERS):
        raise ValueError(
            "no WAV: raw samples need --sample-rate; "
            "`ffmpeg -v error -i FILE -f wav -` makes WAV of other files"
        )
    return LiveSource(
        sample_rate=sample_rate,
        channels=channels or 1,
        encoding=encoding or "pcm_s16le",
        read=rest,
    )


class _Reader:
    """A file with bytes put back in front of it."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head = head
        self._read = read

    def __call__(self, count: int) -> bytes:
        if self._head:
            data, self._head = self._head[:count], self._head[count:]
            return data
        return self._read(count)


class _Stop(Exception):
    """Ctrl-C came during a read."""


class CtrlC:
    """The first Ctrl-C ends the audio, so that everything becomes final; the second one raises."""

    def __init__(self) -> None:
        self._reading = False
        self.stopped = False
        """Whether Ctrl-C came."""
        self._before: Any = None

    def __enter__(self) -> CtrlC:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def during(self, read: Callable[[], bytes]) -> bytes:
        """What it reads; nothing after Ctrl-C."""
        data = b""
        try:
            self._reading = True
            if not self.stopped:
                data = read()
            # Inside of the block: behind it, nothing would catch what the handler raises.
            self._reading = False
        except _Stop:
            self._reading = False
        return data

    def each(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, up to Ctrl-C."""
        left = iter(chunks)
        while data := self.during(functools.partial(next, left, b"")):
            yield data

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        if self._reading:
            raise _Stop
