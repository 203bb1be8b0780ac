"""The transcript of each clip by Hugging Face's model, one unpadded clip at a time."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.checkpoint import SYMBOLS
from benchmarks.clips import Clip
from benchmarks.systems.offline import Offline, Transcribed, Transcriber


def reference_texts(checkpoint: Path, clips: Sequence[Clip], *, folder: Path) -> list[str]:
    """The greedy transcripts, made once for the same clips and weights.

    Args:
        checkpoint: in Hugging Face's format, with SYMBOLS as its vocabulary.
        clips: each one is run alone.
        folder: where transcripts are kept.
    """
    digest = hashlib.sha256((checkpoint / "config.json").read_bytes())
    for clip in clips:
        digest.update(clip.wav)
    kept = folder / f"{digest.hexdigest()[:16]}.json"
    if kept.exists():
        texts: list[str] = json.loads(kept.read_text())
        return texts
    model = Offline("the reference", _load, setting="fp32", at_once=(1,))
    try:
        model.start(checkpoint, folder)
        texts = [text for clip in clips for text in model.call([clip.wav]).texts]
    finally:
        model.stop()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(texts))
    return texts


def _load(checkpoint: Path, _: str) -> Transcriber:
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    from benchmarks.systems.tutorial import RATE_HZ, read_wav

    extractor = Wav2Vec2FeatureExtractor.from_pretrained(checkpoint)
    model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()

    def transcribe(wavs: Sequence[bytes]) -> Transcribed:
        (wav,) = wavs
        clip = read_wav(wav)
        values = extractor(clip, sampling_rate=RATE_HZ, return_tensors="pt").input_values
        with torch.inference_mode():
            ids = model(values).logits[0].argmax(dim=-1)
        return Transcribed([_text(ids.tolist())], clip.size, clip.size)

    return transcribe


def _text(ids: Sequence[int]) -> str:
    """Repeats collapse first, then blanks and other special symbols drop."""
    symbols = (SYMBOLS[id_] for id_, _ in itertools.groupby(ids))
    letters = "".join(symbol for symbol in symbols if not symbol.startswith("<"))
    return " ".join(letters.replace("|", " ").split())
