"""The windows of one recording, decoded in threads and dropped at any moment."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing

from asr_backend.audio.format import Samples
from asr_backend.segmentation.windower import Window, windows


class WindowSource:
    """Pulls windows out of a decoder.

    A generator cannot be closed while another thread runs it. So, while a pull runs, `close` only
    sets a flag: the pull ends at the decoder's next block and closes the decoder itself.

    Args:
        blocks: float32 [any number] each, mono, 16 kHz; closed with this one.
        max_window_s: longest window, in seconds.
        overlap_s: what two neighbouring windows share, in seconds.
        stride_samples: samples from one frame to the next.
    """

    def __init__(
        self,
        blocks: Generator[Samples, None, None],
        *,
        max_window_s: float,
        overlap_s: float,
        stride_samples: int,
    ) -> None:
        self._blocks = blocks
        self._windows = windows(
            self._until_closed(),
            max_window_s=max_window_s,
            overlap_s=overlap_s,
            stride_samples=stride_samples,
        )
        self._lock = threading.Lock()
        """Guards the three flags."""
        self._is_pulling = self._is_closed = False
        self.is_freed = False
        """Whether the decoder is closed, or some thread is closing it."""

    def pull(self) -> Window | None:
        """The next window; None behind the last one, and once this is closed.

        With the last window the decoder is closed. Called by one thread at a time.

        Raises:
            AsrError: the audio's fault.
        """
        with self._lock:
            if self._is_closed:
                return None
            self._is_pulling = True
        window = None
        try:
            window = next(self._windows, None)
        finally:
            with self._lock:
                self._is_pulling = False
                free = self.is_freed = self._is_closed or window is None or window.last
            if free:
                self._free()
        return window

    def close(self) -> None:
        """Close the decoder, now or when the pull that runs ends. Safe from any thread."""
        with self._lock:
            self._is_closed = True
            if self._is_pulling or self.is_freed:
                return
            self.is_freed = True
        self._free()

    def _free(self) -> None:
        self._windows.close()
        # Windows that nobody pulled do not close the decoder.
        self._blocks.close()

    def _until_closed(self) -> Generator[Samples, None, None]:
        with closing(self._blocks):
            for block in self._blocks:
                if self._is_closed:
                    return
                yield block
