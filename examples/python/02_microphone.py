"""Blocks of samples, as a microphone gives them, to utterances and their words.

A microphone is an endless iterator of numpy arrays. Here a WAV file stands in for it, so that the
script runs anywhere; `blocks` is the only function to replace.

python 02_microphone.py recording.wav --url localhost:8001
"""

import argparse
import os
import wave
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from asr_client import Client

Block = npt.NDArray[np.int16]

BLOCK_S = 0.1
SILENCE_RMS = 300
"""Of int16 samples: a block below this is taken for silence. Rooms differ: measure yours."""
PAUSE_BLOCKS = 5
"""So much silence ends an utterance."""
LONGEST_BLOCKS = 150
"""And so much speech, so that a noisy room does not grow one for ever."""


def blocks(microphone: wave.Wave_read) -> Iterator[Block]:
    """Int16 [samples] of a mono source, 0.1 s each."""
    while data := microphone.readframes(round(BLOCK_S * microphone.getframerate())):
        yield np.frombuffer(data, np.int16)


def utterances(source: Iterable[Block]) -> Iterator[Block]:
    """Join blocks until a pause; drop the silence between utterances."""
    recorded: list[Block] = []
    quiet = 0
    before: list[Block] = []
    for block in source:
        silent = np.sqrt(np.mean(np.square(block, dtype=np.float64))) < SILENCE_RMS
        quiet = quiet + 1 if silent else 0
        if recorded or not silent:
            # The block before the first loud one may hold the onset of a soft consonant.
            recorded += [*before, block]
            before = []
        else:
            before = [block]
        if recorded and (quiet >= PAUSE_BLOCKS or len(recorded) >= LONGEST_BLOCKS):
            yield np.concatenate(recorded)
            recorded, quiet = [], 0
    if recorded:
        yield np.concatenate(recorded)


def main() -> None:
    """Print each utterance as soon as it has ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="a WAV file, mono, 16 bits")
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()

    with wave.open(args.file) as microphone, Client(args.url, timeout_s=30) as client:
        if microphone.getnchannels() != 1 or microphone.getsampwidth() != 2:
            raise SystemExit(f"{args.file}: not mono with 16 bits")
        rate_hz = microphone.getframerate()
        for samples in utterances(blocks(microphone)):
            transcript = client.transcribe(samples, sample_rate=rate_hz, timestamps="none")
            print(f"{transcript.duration_s:5.2f} s  {transcript.text}", flush=True)


if __name__ == "__main__":
    main()
