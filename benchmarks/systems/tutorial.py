"""The recogniser of every tutorial: pad to the longest, one forward, argmax.

All peers serve this one, so that they differ in how they serve it. It is run by the peers, in their
own environments.
"""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

RATE_HZ = 16_000


class Recognizer:
    """Hugging Face's model and processor, as their model cards use them.

    Args:
        checkpoint: a folder in Hugging Face's format.
        padding_log: a file that gets one line a forward: samples of the clips, samples of the
            padded batch.
    """

    def __init__(self, checkpoint: str | Path, padding_log: str | Path) -> None:
        self._processor = Wav2Vec2Processor.from_pretrained(checkpoint)
        self._model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()
        self._log = os.open(padding_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, wavs: Sequence[bytes]) -> list[str]:
        """The transcripts of WAV files, from one padded forward."""
        clips = [read_wav(wav) for wav in wavs]
        inputs = self._processor(clips, sampling_rate=RATE_HZ, padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        own, padded = sum(clip.size for clip in clips), inputs.input_values.numel()
        os.write(self._log, f"{own} {padded}\n".encode())
        texts: list[str] = self._processor.batch_decode(logits.argmax(dim=-1))
        return texts


def read_wav(wav: bytes) -> npt.NDArray[np.float32]:
    """16-bit mono PCM to float32 [samples], full scale 1."""
    with wave.open(io.BytesIO(wav)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return pcm.astype(np.float32) / 32768
