"""Aligns a known text with emissions: the most probable path that spells it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asr_backend.ctc.emissions import Emissions, Run

MIN_LOG_PROB = -1e4
"""Used instead of the logarithm of 0, so that a path through it is bad but possible."""


def align(
    emissions: Emissions,
    words: Sequence[Sequence[int]],
    *,
    silent_ids: Sequence[int],
    delimiter_ids: Sequence[int],
) -> list[list[Run]]:
    """Find each character's frames by a Viterbi search.

    If greedy decoding gives the same text, its path is the most probable of all, so the runs are
    equal to those of greedy decoding.

    Args:
        emissions: of the recording.
        words: the symbols of each word, by id; no silent symbols and no delimiters.
        silent_ids: ids that stand for no character.
        delimiter_ids: ids that separate words; may be empty for a single word.

    Returns:
        For each word the runs of its characters.

    Raises:
        ValueError: there are too few frames for the text.
    """
    if not words:
        return []
    frames = np.maximum(emissions, MIN_LOG_PROB)
    silent = frames[:, list(silent_ids)].max(axis=1)
    gap = frames[:, list(delimiter_ids)].max(axis=1) if delimiter_ids else silent
    # States: a rest, then each symbol or delimiter followed by a rest. Next to a delimiter, or at
    # an end of the text, a rest may contain delimiters too.
    symbols = [symbol for word in words for symbol in (*word, -1)][:-1]
    columns = [frames[:, id_] if id_ >= 0 else gap for id_ in symbols]
    quiet = np.maximum(silent, gap)
    ids = [-1, *symbols, -1]
    rests = [quiet if -1 in pair else silent for pair in pairwise(ids)]
    scores = np.empty((len(frames), 2 * len(symbols) + 1), np.float32)
    scores[:, 0::2] = np.stack(rests, axis=1)
    scores[:, 1::2] = np.stack(columns, axis=1)
    # The rest between two different symbols may be skipped.
    may_skip = np.zeros(scores.shape[1], bool)
    may_skip[3::2] = [left != right for left, right in pairwise(symbols)]
    path = _best_path(scores, may_skip)
    return _runs(path, scores, words)


def _best_path(
    scores: npt.NDArray[np.float32], may_skip: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """The state of each frame on the best path from the first two states to the last two."""
    frame_count, state_count = scores.shape
    total = np.full(state_count, -np.inf)
    total[:2] = scores[0, :2]
    steps = np.zeros((frame_count, state_count), np.int8)
    moves = np.full((3, state_count), -np.inf)
    for frame in range(1, frame_count):
        moves[0] = total
        moves[1, 1:] = total[:-1]
        moves[2, 2:] = np.where(may_skip[2:], total[:-2], -np.inf)
        steps[frame] = moves.argmax(axis=0)
        total = moves.max(axis=0) + scores[frame]
    state = state_count - 1 if total[-1] >= total[-2] else state_count - 2
    if total[state] == -np.inf:
        raise ValueError(f"{frame_count} frames are too few for the text")
    path = np.empty(frame_count, np.int64)
    for frame in range(frame_count - 1, -1, -1):
        path[frame] = state
        state -= steps[frame, state]
    return path


def _runs(
    path: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], words: Sequence[Sequence[int]]
) -> list[list[Run]]:
    found = []
    state = 1
    for word in words:
        runs = []
        for id_ in word:
            start, end = np.searchsorted(path, [state, state + 1]).tolist()
            runs.append(Run(id_, start, end, float(scores[start:end, state].max())))
            state += 2
        found.append(runs)
        state += 2
    return found
