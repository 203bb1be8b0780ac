"""Transcribes one recording inside a front, from its bytes to its words.

Threads decode the audio, and a window is decoded only when there is room for it. So a small file
that expands to hours of audio is never in memory as samples. Several windows of one recording are
in flight at a time, within a budget that all long recordings of the front share. A recording of one
window does not use that budget, so long recordings cannot delay short ones.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from asr_backend.audio.format import Channel
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.source import Source
from asr_backend.audio.warning import AudioWarning
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.decoders import Decoders
from asr_backend.ctc.emissions import Emissions
from asr_backend.ctc.transcription import Transcription, side_by_side
from asr_backend.front.acoustic_client import AcousticClient
from asr_backend.front.emissions_reader import EmissionsReader
from asr_backend.front.options import Options
from asr_backend.front.stages import Stages
from asr_backend.front.window_budget import WindowBudget
from asr_backend.front.window_source import WindowSource
from asr_backend.front.work_limits import WorkLimits
from asr_backend.segmentation.stitching import Stitcher
from asr_backend.segmentation.windower import Window, Windower
from asr_backend.triton_io.precedence import Precedence

T = TypeVar("T")

CHANNELS_AT_ONCE = 2
"""Channels of one recording that are transcribed at a time; a telephone call has two."""
INLINE_CHARS = 500
"""Up to so many characters of all channels are merged on the event loop, which takes about two
milliseconds; more are merged in a thread."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One recording to transcribe, and its caller."""

    audio: bytes | mmap.mmap
    """The bytes of a file, or raw PCM as the options state."""
    options: Options
    is_cancelled: Callable[[], bool]
    """Whether the caller has gone; asked before each window."""
    on_length: Callable[[float], None]
    """Called with the seconds of the recording, once they are known or can be estimated."""
    stages: Stages = field(default_factory=Stages)
    """The time of its call by stage."""
    is_live: bool = False
    """Whether it is live audio, to which windows of long recordings yield."""


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """The answer for one recording."""

    transcription: Transcription
    duration_s: float
    warnings: tuple[AudioWarning, ...] = ()
    """What the caller should know about the audio."""


@dataclass(frozen=True, kw_only=True)
class Recognizer:
    """Transcribes recordings with one checkpoint. All recordings of a front share it."""

    checkpoint: Checkpoint
    """It states the vocabulary and the frame rate of the emissions."""
    acoustic: AcousticClient
    """Computes the emissions of windows."""
    decoders: Decoders
    """Makes the decoders, which turn emissions into words."""
    limits: AudioLimits
    """Limits for every recording."""
    work_limits: WorkLimits
    """Limits for options that multiply the work."""
    max_window_s: float
    """Maximum length of a window, in seconds."""
    overlap_s: float
    """Overlap of two neighbouring windows, in seconds."""
    budget: WindowBudget
    """The audio of long recordings that may be in flight."""
    decode_pool: Executor
    """Threads for decoding audio, and for making long texts."""
    search_pool: Executor
    """Threads for beam search."""

    async def recognize(self, job: Job) -> Recognition:
        """Transcribe one recording.

        Raises:
            AsrError: the recording or its options cannot be served, or the service failed.
            Cancelled: the caller has gone.
            UpstreamError: an error of Triton's, to be passed on.
        """
        channel = job.options.channel
        if channel == "separate":
            return await self._recognize_channels(job)
        limits = self.work_limits.audio_limits(self.limits, job.options)
        return await Session(self, job, channel=channel, limits=limits).run()

    def source(self, job: Job) -> Source:
        """The recording, not opened yet."""
        return Source(job.audio, pcm=job.options.pcm, max_bytes=self.limits.max_audio_bytes)

    async def in_decode_pool(self, work: Callable[[], T]) -> T:
        """Do long work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.decode_pool, work)

    async def _recognize_channels(self, job: Job) -> Recognition:
        """Transcribe each channel separately, CHANNELS_AT_ONCE of them at a time.

        Each channel decodes the audio itself. Decoding once would keep the samples of the channels
        that wait in memory.
        """
        count = await self.in_decode_pool(partial(_count_channels, self.source(job)))
        limits = self.work_limits.audio_limits(self.limits, job.options, channels=count)
        each = replace(job, on_length=lambda audio_s: job.on_length(count * audio_s))
        at_once = asyncio.Semaphore(CHANNELS_AT_ONCE)

        async def recognize(channel: int) -> Recognition:
            async with at_once:
                return await Session(self, each, channel=channel, limits=limits).run()

        tasks = [asyncio.create_task(recognize(channel)) for channel in range(count)]
        try:
            channels = await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)
        transcriptions = [channel.transcription for channel in channels]
        merging = partial(side_by_side, transcriptions)
        is_long = sum(len(one.chars) for one in transcriptions) > INLINE_CHARS
        return Recognition(
            transcription=await self.in_decode_pool(merging) if is_long else merging(),
            duration_s=max(channel.duration_s for channel in channels),
            # Each channel reports what is wrong with the file.
            warnings=tuple(dict.fromkeys(one for channel in channels for one in channel.warnings)),
        )


class Session:
    """Transcribes one channel of a job, or the mix of its channels.

    Args:
        recognizer: shared by all sessions.
        job: the recording.
        channel: the channel to transcribe.
        limits: for the audio.

    Raises:
        AsrError: UNKNOWN_LANGUAGE or BAD_OPTIONS, as Decoders.decoder.
    """

    def __init__(
        self, recognizer: Recognizer, job: Job, *, channel: Channel, limits: AudioLimits
    ) -> None:
        checkpoint, options = recognizer.checkpoint, job.options
        is_search = options.beam is not None
        self._shared = recognizer
        self._job = job
        self._limits = limits
        self._reader = EmissionsReader(
            Stitcher(checkpoint.in_language(options.language)),
            recognizer.decoders.decoder(options.language, options.beam),
            recognizer.search_pool if is_search else recognizer.decode_pool,
            always_in_pool=is_search,
        )
        self._source = recognizer.source(job)
        windower = Windower(
            max_window_s=recognizer.max_window_s,
            overlap_s=recognizer.overlap_s,
            stride_samples=checkpoint.stride_samples,
        )
        self._windows = WindowSource(self._source.blocks(channel, limits), windower)
        # Windows at the acoustic model, in order.
        self._pending: deque[tuple[Window, asyncio.Task[Emissions]]] = deque()
        self._sample_count = 0

    async def run(self) -> Recognition:
        """Transcribe. To be called once.

        Raises:
            AsrError, Cancelled, UpstreamError: as Recognizer.recognize.
        """
        try:
            await self._send_windows()
            while self._pending:
                await self._collect()
            with self._job.stages.stage("ctc"):
                transcription = await self._reader.finish(self._duration_s)
            return Recognition(
                transcription=transcription,
                duration_s=self._duration_s,
                warnings=self._source.warnings,
            )
        finally:
            # If the call fails or is cancelled, threads may still work for it.
            self._reader.stop()
            if not self._windows.is_freed:
                # Not awaited: the answer need not wait for a free thread.
                asyncio.get_running_loop().run_in_executor(
                    self._shared.decode_pool, self._windows.close
                )
            tasks = [task for _, task in self._pending]
            self._pending.clear()
            await _cancel(tasks)

    @property
    def _duration_s(self) -> float:
        """Seconds of the windows so far."""
        return self._sample_count / self._shared.checkpoint.sample_rate_hz

    async def _send_windows(self) -> None:
        """Send all windows to the acoustic model; meanwhile, read the answers that have arrived."""
        while (window := await self._next_window()) is not None:
            self._sample_count = window.end_sample
            if self._sample_count < self._shared.checkpoint.receptive_field_samples:
                return
            if window.index == 0:
                self._report_length(window)
            self._pending.append((window, asyncio.create_task(self._emissions(window))))
            while self._pending and (self._is_full() or self._pending[0][-1].done()):
                await self._collect()
            if window.last:
                return

    async def _next_window(self) -> Window | None:
        with self._job.stages.stage("decode"):
            return await self._shared.in_decode_pool(self._windows.pull)

    def _report_length(self, first: Window) -> None:
        seconds = self._duration_s if first.is_only else self._source.duration_s
        max_audio_s = self._limits.max_audio_s
        self._job.on_length(max_audio_s if seconds is None else min(seconds, max_audio_s))

    def _is_full(self) -> bool:
        """Whether its pending windows have more samples than the whole budget."""
        held = sum(len(window.samples) for window, _ in self._pending)
        return held > self._shared.budget.max_samples

    async def _emissions(self, window: Window) -> Emissions:
        shared, job = self._shared, self._job
        admit = shared.budget.pass_by if window.is_only else shared.budget.admit
        async with admit(len(window.samples)):
            return await shared.acoustic.log_probs(
                window.samples, job.is_cancelled, job.options.language, self._precedence(window)
            )

    def _precedence(self, window: Window) -> Precedence:
        if self._job.is_live:
            return "live"
        return "normal" if window.is_only else "yielding"

    async def _collect(self) -> None:
        """Wait for the emissions of the first pending window, and read them."""
        stages = self._job.stages
        with stages.stage("acoustic"):
            # The task has no name here: if it fails, its traceback keeps this frame.
            emissions = await self._pending[0][-1]
        window, _ = self._pending.popleft()
        with stages.stage("ctc"):
            await self._reader.push(window, emissions)


def _count_channels(source: Source) -> int:
    with closing(source):
        return source.channels


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for them.

    The list is emptied: it and the traceback of a failed task would keep each other in memory.
    """
    try:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        tasks.clear()
