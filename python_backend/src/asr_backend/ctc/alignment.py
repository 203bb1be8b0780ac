"""Aligns a known text with emissions: the most probable path that spells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr_backend.ctc.emissions import Emissions, Run

MIN_LOG_PROB = -1e4
"""Used instead of the logarithm of 0, so that a path through it is bad but possible."""

_DELIMITER = -1
_NONE = -1


class Part(NamedTuple):
    """A symbol that writes the letters of a word from `start` to `end`."""

    start: int
    end: int
    id: int


def spellings(word: str, ids: Mapping[str, int]) -> list[Part]:
    """All symbols that a word can be spelled with, `th` beside `t` and `h`.

    Raises:
        ValueError: the word is not made of these symbols.
    """
    longest = max(map(len, ids))
    reached = {0}
    parts = []
    for start in range(len(word)):
        if start in reached:
            for end in range(start + 1, min(len(word), start + longest) + 1):
                if (id_ := ids.get(word[start:end])) is not None:
                    parts.append(Part(start, end, id_))
                    reached.add(end)
    if len(word) not in reached:
        raise ValueError(f"{word!r} is not made of the vocabulary's symbols")
    return parts


def align(
    emissions: Emissions,
    words: Sequence[Sequence[Part]],
    *,
    silent_ids: Sequence[int],
    delimiter_ids: Sequence[int],
) -> list[list[Run]]:
    """Find each character's frames by a Viterbi search over all spellings of the text.

    If greedy decoding gives the same text, its path is the most probable of all, so the runs are
    equal to those of greedy decoding.

    Args:
        emissions: of the recording.
        words: for each word the symbols that write it; no silent symbols and no delimiters.
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
    parts = _joined(words)
    ends = [0, parts[-1].end]
    beside_gaps = {node for part in parts if part.id == _DELIMITER for node in part[:2]}
    # States: a rest before each letter and after the last, then the symbols. Next to a delimiter,
    # or at an end of the text, a rest may contain delimiters too.
    quiet = np.maximum(silent, gap)
    rests = [quiet if node in beside_gaps.union(ends) else silent for node in range(ends[1] + 1)]
    symbols = [gap if part.id == _DELIMITER else frames[:, part.id] for part in parts]
    scores = np.stack([*rests, *symbols], axis=1)
    path = _best_path(scores, parts)
    return _runs(path, scores, parts)


def _joined(words: Sequence[Sequence[Part]]) -> list[Part]:
    """The symbols of all words and the delimiters between them, by letters of the text."""
    parts: list[Part] = []
    for word in words:
        at = parts[-1].end if parts else 0
        if parts:
            parts.append(Part(at, at + 1, _DELIMITER))
            at += 1
        # The last symbol of a word ends last.
        parts += sorted((Part(at + p.start, at + p.end, p.id) for p in word), key=lambda p: p.end)
    return parts


def _moves(parts: Sequence[Part], state_count: int) -> npt.NDArray[np.intp]:
    """The states that each state may follow, [most, states]; where there are fewer, `state_count`.

    A state may go on. A rest follows the symbols before it; a symbol follows a rest or, without
    one, another symbol.
    """
    nodes = state_count - len(parts)
    before: list[list[int]] = [[] for _ in range(nodes)]
    for state, part in enumerate(parts, nodes):
        before[part.end].append(state)
    sources = [[node, *before[node]] for node in range(nodes)]
    for state, part in enumerate(parts, nodes):
        others = [one for one in before[part.start] if parts[one - nodes].id != part.id]
        sources.append([state, part.start, *others])
    moves = np.full((max(map(len, sources)), state_count), state_count)
    for state, of_state in enumerate(sources):
        moves[: len(of_state), state] = of_state
    return moves


def _best_path(scores: npt.NDArray[np.float32], parts: Sequence[Part]) -> npt.NDArray[np.intp]:
    """The state of each frame on the best path from the start of the text to its end."""
    frame_count, state_count = scores.shape
    nodes = state_count - len(parts)
    moves = _moves(parts, state_count)
    # The last one is no state, and can be in no path.
    total = np.full(state_count + 1, -np.inf)
    first = [0, *(state for state, part in enumerate(parts, nodes) if part.start == 0)]
    total[first] = scores[0, first]
    steps = np.zeros((frame_count, state_count), np.min_scalar_type(len(moves)))
    before = np.empty(moves.shape)
    for frame in range(1, frame_count):
        # Without a mode, NumPy would copy the result.
        np.take(total, moves, out=before, mode="clip")
        steps[frame] = before.argmax(axis=0)
        total[:-1] = before.max(axis=0) + scores[frame]
    last = [nodes - 1, *(state for state, part in enumerate(parts, nodes) if part.end == nodes - 1)]
    state = max(last, key=total.__getitem__)
    if total[state] == -np.inf:
        raise ValueError(f"{frame_count} frames are too few for the text")
    path = np.empty(frame_count, np.intp)
    for frame in range(frame_count - 1, -1, -1):
        path[frame] = state
        state = moves[steps[frame, state], state]
    return path


def _runs(
    path: npt.NDArray[np.intp], scores: npt.NDArray[np.float32], parts: Sequence[Part]
) -> list[list[Run]]:
    nodes = scores.shape[1] - len(parts)
    starts = np.flatnonzero(np.diff(path, prepend=_NONE))
    found: list[list[Run]] = [[]]
    for start, end in zip(starts, [*starts[1:], len(path)], strict=True):
        state = path[start]
        if state < nodes:
            continue
        id_ = parts[state - nodes].id
        if id_ == _DELIMITER:
            found.append([])
        else:
            log_prob = float(scores[start:end, state].max())
            found[-1].append(Run(id_, int(start), int(end), log_prob))
    return found
