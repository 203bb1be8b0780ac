"""Hugging Face's pipeline, handed one clip or sixteen at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.systems.offline import Transcribed, Transcriber

NAME = "Hugging Face pipeline, {}"
IS_PEER = True


def load(checkpoint: Path, precision: str) -> Transcriber:
    """The pipeline `automatic-speech-recognition` with the batch size of the call."""
    import torch
    from transformers import pipeline

    from benchmarks.systems.tutorial import RATE_HZ, read_wav

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    recognize = pipeline(
        "automatic-speech-recognition", model=str(checkpoint), dtype=dtype, device="cpu"
    )

    def transcribe(wavs: Sequence[bytes]) -> Transcribed:
        clips = [read_wav(wav) for wav in wavs]
        inputs = ({"raw": clip, "sampling_rate": RATE_HZ} for clip in clips)
        texts = [answer["text"] for answer in recognize(inputs, batch_size=len(clips))]
        sizes = [clip.size for clip in clips]
        return Transcribed(texts, sum(sizes), len(sizes) * max(sizes))

    return transcribe
