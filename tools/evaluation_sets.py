"""The sets of clips that the demo checkpoint is judged on, and their word error rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from tools.augmentation import normalise
from tools.demo_model import decode
from tools.pcm import Clip, read_audio, read_shards
from tools.real_digits import judging_clips, read_spoken_digits
from tools.word_errors import word_error_rate

Hypothesise = Callable[[torch.Tensor], torch.Tensor]
"""Normalised samples [1, n] to logits [1, frames, symbols]."""


def recordings(folder: Path) -> list[Clip]:
    """A folder of recordings with a `transcripts.tsv` (header, then file, tab, words)."""
    lines = (folder / "transcripts.tsv").read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.split("\t") for line in lines]
    return [Clip("recordings", "unknown", text, read_audio(folder / name)) for name, text in pairs]


def evaluation_sets(
    recordings_folder: Path | None,
    synthetic_folder: Path | None,
    spoken_digits_folder: Path | None,
    speakers: Sequence[str] = (),
) -> dict[str, list[Clip]]:
    """The sets of the folders that are given, by name."""
    sets: dict[str, list[Clip]] = defaultdict(list)
    if recordings_folder is not None:
        sets["recordings"] = recordings(recordings_folder)
    if synthetic_folder is not None:
        for clip in read_shards(synthetic_folder):
            sets[f"synthetic {clip.voice}"].append(clip)
    if spoken_digits_folder is not None:
        words = read_spoken_digits(spoken_digits_folder, speakers)
        for speaker in speakers:
            for clip in judging_clips(words[speaker], speaker):
                sets[f"{clip.group} digits {speaker}"].append(clip)
    return dict(sets)


@torch.no_grad()
def transcribe(hypothesise: Hypothesise, clips: Iterable[Clip]) -> list[tuple[str, str]]:
    """Pairs of the true words and the greedy hypothesis, one unpadded clip at a time."""
    pairs = []
    for clip in clips:
        samples = torch.from_numpy(normalise(clip.samples))[None]
        pairs.append((clip.text, decode(hypothesise(samples)[0].argmax(-1).tolist())))
    return pairs


def report(hypothesise: Hypothesise, sets: dict[str, list[Clip]]) -> dict[str, float]:
    """Word error rate of each set."""
    return {name: word_error_rate(transcribe(hypothesise, clips)) for name, clips in sets.items()}
