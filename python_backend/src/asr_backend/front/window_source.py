"""The windows of one recording. Threads decode them; they can be dropped at any moment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator

from asr_backend.audio.source import Block, Silence
from asr_backend.segmentation.windower import Window, Windower


class WindowSource:
    """Pulls windows out of an audio decoder.

    A generator cannot be closed while another thread runs it. So while a pull runs, `close` only
    sets a flag: the pull ends at the decoder's next block and closes the decoder.

    Args:
        blocks: the decoder: float32 [any number] each, mono, 16 kHz, or silence; closed with this
            object.
        windower: cuts them into windows.
    """

    def __init__(self, blocks: Generator[Block, None, None], windower: Windower) -> None:
        self._blocks = blocks
        self._windower = windower
        self._ready: deque[Window] = deque()
        self._lock = threading.Lock()
        """Guards the three flags."""
        self._is_pulling = self._is_closed = False
        self.is_freed = False
        """Whether the decoder is closed, or some thread is closing it."""

    def pull(self) -> Window | None:
        """Return the next window; None after the last one, and after `close`.

        The decoder is closed with the last window. Only one thread at a time may call this.

        Raises:
            AsrError: the audio cannot be decoded, or exceeds a limit.
        """
        with self._lock:
            if self._is_closed or self.is_freed:
                return None
            self._is_pulling = True
        window = None
        try:
            window = self._next()
        finally:
            with self._lock:
                self._is_pulling = False
                free = self.is_freed = self._is_closed or window is None or window.last
            if free:
                self._blocks.close()
        return window

    def close(self) -> None:
        """Close the decoder, now or when the running pull ends. Safe from any thread."""
        with self._lock:
            self._is_closed = True
            if self._is_pulling or self.is_freed:
                return
            self.is_freed = True
        self._blocks.close()

    def _next(self) -> Window | None:
        while not self._ready:
            block = next(self._blocks, None)
            if self._is_closed:
                return None
            if block is None:
                return self._windower.finish()
            if isinstance(block, Silence):
                self._ready.extend(self._windower.skip(block.samples))
            else:
                self._ready.extend(self._windower.push(block))
        return self._ready.popleft()
