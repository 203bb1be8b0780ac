"""The service's own engine in one process: the service is compared with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.systems.offline import Transcribed, Transcriber

NAME = "its engine offline, {}"
"""In tables, with the precision."""
IS_PEER = False


def load(checkpoint: Path, precision: str) -> Transcriber:
    """The engine, whole clips, planned into forwards as the model `wav2vec2` plans them."""
    from asr_backend.acoustic.engine.loading import load_engine
    from asr_backend.acoustic.forward_plan import FORWARD_START_S, MAX_BATCH_AUDIO_S, plan_forwards
    from asr_backend.audio.format import SAMPLE_RATE_HZ
    from asr_backend.checkpoint.description import load_checkpoint
    from asr_backend.ctc.greedy import GreedyDecoder
    from benchmarks.systems.tutorial import read_wav

    description = load_checkpoint(checkpoint)
    cores = len(os.sched_getaffinity(0))
    engine = load_engine(description, device="cpu", precision=precision, threads=cores)
    max_padded, start = (
        round(table["cpu"] * SAMPLE_RATE_HZ) for table in (MAX_BATCH_AUDIO_S, FORWARD_START_S)
    )

    def transcribe(wavs: Sequence[bytes]) -> Transcribed:
        clips = [read_wav(wav) for wav in wavs]
        texts = [""] * len(clips)
        padded = 0
        lengths = [clip.size for clip in clips]
        for forward in plan_forwards(
            lengths, max_padded=max_padded, start=start, max_windows=engine.max_windows
        ):
            windows = [clips[index] for index in forward]
            padded += engine.computed_samples([window.size for window in windows])
            for index, log_probs in zip(forward, engine.forward(windows), strict=True):
                decoder = GreedyDecoder(description)
                decoder.push(log_probs)
                texts[index] = decoder.finish(clips[index].size / SAMPLE_RATE_HZ).text
        return Transcribed(texts, sum(lengths), padded)

    return transcribe
