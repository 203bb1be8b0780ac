"""Turns the emissions of one recording into text, on the event loop or in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from asr_backend.ctc.decoders import Decoder
from asr_backend.ctc.emissions import Emissions
from asr_backend.ctc.transcription import Transcription
from asr_backend.segmentation.stitching import Stitcher
from asr_backend.segmentation.windower import Window

T = TypeVar("T")

INLINE_EMISSIONS = 1_000_000
"""Up to so many log-probabilities are read on the event loop, which takes about a millisecond; more
are read in a thread. A window of 20 s has 32,000 with a vocabulary of 32 symbols."""
INLINE_FRAMES = 2_000
"""The text of up to so many frames is made on the event loop, which takes about two
milliseconds."""


class EmissionsReader:
    """Windows of emissions in, in order; a transcript out at the end.

    Args:
        stitcher: joins the windows.
        decoder: turns them into words.
        pool: threads for long work.
        always_in_pool: whether the decoder is slow, so that all of its work needs a thread.
    """

    def __init__(
        self, stitcher: Stitcher, decoder: Decoder, pool: Executor, *, always_in_pool: bool
    ) -> None:
        self._stitcher = stitcher
        self._decoder = decoder
        self._pool = pool
        self._always_in_pool = always_in_pool
        self._frame_count = 0

    async def push(self, window: Window, emissions: Emissions) -> None:
        """Read the next window's emissions, float32 [frames, vocabulary]."""
        self._frame_count += len(emissions)
        work = partial(self._push, window, emissions)
        await self._run(work, in_pool=emissions.size > INLINE_EMISSIONS)

    async def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all windows, with no time after `duration_s`."""
        work = partial(self._finish, duration_s)
        return await self._run(work, in_pool=self._frame_count > INLINE_FRAMES)

    def stop(self) -> None:
        """Stop the work that runs in a thread, because nobody waits for the transcript."""
        self._decoder.stop()

    def _push(self, window: Window, emissions: Emissions) -> None:
        if window.after_pause:
            for silence in self._stitcher.fill(window.start_sample):
                self._decoder.push(silence)
        final = self._stitcher.push(window.start_sample, emissions, after_pause=window.after_pause)
        self._decoder.push(final)

    def _finish(self, duration_s: float) -> Transcription:
        self._decoder.push(self._stitcher.finish())
        return self._decoder.finish(duration_s)

    async def _run(self, work: Callable[[], T], *, in_pool: bool) -> T:
        if in_pool or self._always_in_pool:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        return work()
