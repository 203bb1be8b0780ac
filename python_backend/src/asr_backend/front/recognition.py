"""One recording's way from bytes to words inside a front.

Decoding runs in threads and is pulled: a window is decoded when there is room for it, so that a
file that expands to hours never lies in memory as samples. Windows of one file are in flight
together, within seconds of audio that all long files of the front share; a file of a single window
does not wait for them, so long audio cannot keep short audio waiting.
"""

from __future__ import annotations

import asyncio
import mmap
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from asr_backend.audio.format import Channel, Samples
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.source import Source
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.decoders import Decoders
from asr_backend.ctc.emissions import Emissions
from asr_backend.ctc.transcription import Transcription, side_by_side
from asr_backend.front.emissions_reader import EmissionsReader
from asr_backend.front.options import Options
from asr_backend.front.window_budget import LongAudio
from asr_backend.front.window_source import WindowSource
from asr_backend.front.work_limits import WorkLimits
from asr_backend.segmentation.stitching import Stitcher
from asr_backend.segmentation.windower import Window, Windower

IsCancelled = Callable[[], bool]
T = TypeVar("T")

CHANNELS_AT_ONCE = 2
"""Channels of one recording in work at a time: those of a telephone call."""
INLINE_CHARS = 500
"""Characters of all channels that are sorted on the event loop, in about two milliseconds."""


class AcousticModel(Protocol):
    """Whatever turns a window into log-probabilities; `AcousticCalls` in the service."""

    async def log_probs(
        self, samples: Samples, is_cancelled: IsCancelled, language: str | None
    ) -> Emissions:
        """Float32 [n] at 16 kHz to float32 [frames, vocabulary of the language]."""
        ...


@dataclass(kw_only=True)
class Stages:
    """Where a recording's time went, in seconds of wall clock.

    Decoding of later windows overlaps the acoustic model's work on earlier ones, so the parts may
    add up to more than the whole.
    """

    decode_s: float = 0.0
    """In the decoder."""
    acoustic_s: float = 0.0
    """Waiting for the acoustic model with nothing else to do, its queue included."""
    ctc_s: float = 0.0
    """Stitching windows and reading the text."""
    started: float = field(default_factory=time.perf_counter)

    def total_s(self) -> float:
        """Seconds since the recording was taken up."""
        return time.perf_counter() - self.started


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """The answer for one recording."""

    transcription: Transcription
    duration_s: float
    stages: Stages


class Recognizer:
    """Turns recordings into words with one checkpoint.

    Args:
        checkpoint: whose vocabulary and frame rate the emissions have.
        acoustic: where windows go.
        limits: the longest and the largest recording.
        work_limits: what a call's options may make of it.
        max_window_s: longest window, in seconds.
        overlap_s: what two neighbouring windows share, in seconds.
        long_audio_s: seconds of long recordings that are with the acoustic model at a time; a
            window beyond them goes alone.
        decode_pool: threads in which audio is decoded, and long text is read.
        decoders: turn emissions into words.
        search_pool: threads in which beam search does so.
    """

    def __init__(
        self,
        *,
        checkpoint: Checkpoint,
        acoustic: AcousticModel,
        limits: AudioLimits,
        max_window_s: float,
        overlap_s: float,
        long_audio_s: float,
        decode_pool: Executor,
        decoders: Decoders,
        search_pool: Executor,
        work_limits: WorkLimits,
    ) -> None:
        self._checkpoint = checkpoint
        self._acoustic = acoustic
        self._limits = limits
        self._max_window_s = max_window_s
        self._overlap_s = overlap_s
        self._long_audio = LongAudio(round(long_audio_s * checkpoint.sample_rate_hz))
        self._decode_pool = decode_pool
        self._decoders = decoders
        self._search_pool = search_pool
        self._work_limits = work_limits

    async def recognize(
        self,
        audio: bytes | mmap.mmap,
        options: Options,
        is_cancelled: IsCancelled,
        on_length: Callable[[float], None],
    ) -> Recognition:
        """Transcribe one recording.

        Args:
            audio: a file's bytes, or raw PCM as `options` says; nothing refers to them afterwards.
            options: what the caller asked for.
            is_cancelled: whether the caller has gone; asked before each window.
            on_length: told the recording's seconds once they are known, or can be estimated.

        Raises:
            AsrError: the recording's own fault, or the service's, by the contract's codes.
            Cancelled: the caller has gone.
            UpstreamError: Triton's words, to be passed on.
        """
        stages = Stages()
        if options.channel != "separate":
            limits = self._work_limits.audio_limits(self._limits, options)
            transcription, duration_s = await self._hear(
                audio, options, limits, is_cancelled, on_length, stages
            )
        else:
            transcription, duration_s = await self._hear_each_channel(
                audio, options, is_cancelled, on_length, stages
            )
        return Recognition(transcription=transcription, duration_s=duration_s, stages=stages)

    async def _hear_each_channel(
        self,
        audio: bytes | mmap.mmap,
        options: Options,
        is_cancelled: IsCancelled,
        on_length: Callable[[float], None],
        stages: Stages,
    ) -> tuple[Transcription, float]:
        """The channels beside each other, CHANNELS_AT_ONCE of them in work at a time.

        Each decodes the audio for itself, so that none has to wait in memory for the others.
        """
        counting = partial(_count_channels, self._source(audio, options))
        count = await self._in_decode_pool(counting)
        limits = self._work_limits.audio_limits(self._limits, options, channels=count)
        at_once = asyncio.Semaphore(CHANNELS_AT_ONCE)

        async def hear(channel: int) -> tuple[Transcription, float]:
            async with at_once:
                return await self._hear(
                    audio,
                    options.model_copy(update={"channel": channel}),
                    limits,
                    is_cancelled,
                    lambda audio_s: on_length(count * audio_s),
                    stages,
                )

        tasks = [asyncio.create_task(hear(channel)) for channel in range(count)]
        try:
            heard = await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)
        transcriptions, durations_s = zip(*heard, strict=True)
        merging = partial(side_by_side, transcriptions)
        if sum(len(one.chars) for one in transcriptions) > INLINE_CHARS:
            return await self._in_decode_pool(merging), max(durations_s)
        return merging(), max(durations_s)

    async def _hear(
        self,
        audio: bytes | mmap.mmap,
        options: Options,
        limits: AudioLimits,
        is_cancelled: IsCancelled,
        on_length: Callable[[float], None],
        stages: Stages,
    ) -> tuple[Transcription, float]:
        """The transcript of one channel or of the mix, and the audio's seconds."""
        is_search = options.decoder == "beam"
        reader = EmissionsReader(
            Stitcher(self._checkpoint.in_language(options.language)),
            self._decoders.decoder(options.language, options.beam),
            self._search_pool if is_search else self._decode_pool,
            always_in_pool=is_search,
        )
        pending: deque[tuple[Window, asyncio.Task[Emissions]]] = deque()
        sample_count = 0

        async def collect() -> None:
            waited_from = time.perf_counter()
            # No name for the task: if it fails, its traceback has this frame.
            emissions = await pending[0][-1]
            read_from = time.perf_counter()
            window, _ = pending.popleft()
            await reader.push(window, emissions)
            stages.acoustic_s += read_from - waited_from
            stages.ctc_s += time.perf_counter() - read_from

        def seconds() -> float:
            return sample_count / self._checkpoint.sample_rate_hz

        def held() -> int:
            return sum(len(window.samples) for window, _ in pending)

        recording = self._source(audio, options)
        channel: Channel = "mix" if options.channel == "separate" else options.channel
        source = WindowSource(
            recording.blocks(channel, limits),
            Windower(
                max_window_s=self._max_window_s,
                overlap_s=self._overlap_s,
                stride_samples=self._checkpoint.stride_samples,
            ),
        )
        try:
            while (window := await self._next_window(source, stages)) is not None:
                sample_count = window.end_sample
                if sample_count < self._checkpoint.receptive_field_samples:
                    break
                is_long = window.index > 0 or not window.last
                if window.index == 0:
                    stated_s = recording.duration_s if is_long else seconds()
                    on_length(min(limits.max_audio_s, stated_s or limits.max_audio_s))
                call = self._emissions(
                    window.samples, is_cancelled, options.language, is_long=is_long
                )
                pending.append((window, asyncio.create_task(call)))
                while pending and (held() > self._long_audio.limit or pending[0][-1].done()):
                    await collect()
                if window.last:
                    break
            while pending:
                await collect()
            read_from = time.perf_counter()
            transcription = await reader.finish(seconds())
            stages.ctc_s += time.perf_counter() - read_from
            return transcription, seconds()
        finally:
            # Where the call fails or is cancelled, threads may still work for it.
            reader.stop()
            if not source.is_freed:
                # Not awaited: the answer does not wait for a thread to be free.
                asyncio.get_running_loop().run_in_executor(self._decode_pool, source.close)
            tasks = [task for _, task in pending]
            pending.clear()
            await _cancel(tasks)

    def _source(self, audio: bytes | mmap.mmap, options: Options) -> Source:
        return Source(audio, pcm=options.pcm, max_bytes=self._limits.max_audio_bytes)

    async def _next_window(self, source: WindowSource, stages: Stages) -> Window | None:
        started = time.perf_counter()
        window = await self._in_decode_pool(source.pull)
        stages.decode_s += time.perf_counter() - started
        return window

    async def _in_decode_pool(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._decode_pool, work)

    async def _emissions(
        self, samples: Samples, is_cancelled: IsCancelled, language: str | None, *, is_long: bool
    ) -> Emissions:
        if not is_long:
            return await self._acoustic.log_probs(samples, is_cancelled, language)
        async with self._long_audio.admit(len(samples)):
            return await self._acoustic.log_probs(samples, is_cancelled, language)


def _count_channels(source: Source) -> int:
    with closing(source):
        return source.channels


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """End tasks, and empty the list: it and a failed task's traceback would keep each other."""
    try:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        tasks.clear()
