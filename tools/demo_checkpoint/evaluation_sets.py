"""The sets of clips that the demo checkpoint is judged on, and their word error rates."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from tools.demo_checkpoint.augmentation import normalise
from tools.demo_checkpoint.model import decode
from tools.demo_checkpoint.pcm import Clip, read_audio, read_shards
from tools.demo_checkpoint.real_digits import judging_clips, read_spoken_digits
from tools.recordings import transcripts
from tools.word_errors import word_error_rate

Hypothesise = Callable[[torch.Tensor], torch.Tensor]
"""Normalised samples [1, n] to logits [1, frames, symbols]."""


def add_set_flags(parser: argparse.ArgumentParser, recordings: Path | None = None) -> None:
    """Flags for the folders of the sets; `recordings` is the default of the first."""
    add = parser.add_argument
    add("--recordings", type=Path, default=recordings, help="a folder with a transcripts.tsv")
    add("--synthetic", type=Path, help="shards of a held-out voice")
    add("--spoken-digits", type=Path, help="folder of {digit}_{speaker}_{n}.wav")


def evaluation_sets(
    arguments: argparse.Namespace, speakers: Sequence[str] = ()
) -> dict[str, list[Clip]]:
    """The sets by name.

    Args:
        arguments: the values of `add_set_flags`.
        speakers: of the spoken digits.
    """
    sets: dict[str, list[Clip]] = defaultdict(list)
    if arguments.recordings is not None:
        sets["recordings"] = [
            Clip("recordings", "unknown", text, read_audio(path))
            for path, text in transcripts(arguments.recordings)
        ]
    if arguments.synthetic is not None:
        for clip in read_shards(arguments.synthetic):
            sets[f"synthetic {clip.voice}"].append(clip)
    if arguments.spoken_digits is not None and speakers:
        words = read_spoken_digits(arguments.spoken_digits, speakers)
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
