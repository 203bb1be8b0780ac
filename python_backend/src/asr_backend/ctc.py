"""CTC emissions to text, words and characters with times and confidences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from asr_backend.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Span:
    """A word or a character of the transcript."""

    text: str
    start_s: float
    """Seconds from the start of the submitted audio."""
    end_s: float
    """Seconds; at most the duration of the audio."""
    confidence: float
    """In [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Transcription:
    """What was said in one clip."""

    text: str
    confidence: float
    """In [0, 1]."""
    words: tuple[Span, ...]
    chars: tuple[Span, ...]
    """The visible characters in order, without the spaces between words."""


class Decoder(Protocol):
    """Emissions in, as they become final; a transcript out at the end."""

    def push(self, log_probs: npt.NDArray[np.float32]) -> None:
        """Take the next frames, float32 [any number, vocabulary]."""
        ...

    def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all frames, with no time after `duration_s`."""
        ...


class GreedyDecoder:
    """The most probable symbol of every frame: repeats collapse first, then blanks drop.

    A character is a run of frames with the same symbol; its time is from the start of the first
    frame's stride to the end of the last one's. Letter case and symbols of several letters stay
    as the vocabulary has them; special symbols drop as blanks do. Words are what the word
    delimiter separates; a vocabulary without one gives one word.

    Confidences: of a character, the highest probability of its symbol in its run; of a word and
    of the text, the geometric mean over its characters. A text without characters has the
    geometric mean of the best symbol's probability over all frames, and 0 if there are no frames.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._vocabulary = checkpoint.vocabulary
        self._delimiter_id = checkpoint.word_delimiter_id
        self._frame_s = checkpoint.stride_samples / checkpoint.sample_rate_hz
        silent = {checkpoint.blank_id, *checkpoint.special_ids} - {checkpoint.word_delimiter_id}
        # An id without a symbol is one that the tokenizer does not know.
        self._is_silent = [
            id_ in silent or not symbol for id_, symbol in enumerate(self._vocabulary)
        ]
        self._runs: list[_Run] = []
        # The run that the next push may go on with, silent ones included.
        self._open: _Run | None = None
        self._frame_count = 0
        self._log_prob_sum = 0.0

    def push(self, log_probs: npt.NDArray[np.float32]) -> None:
        """Take the next frames, float32 [any number, vocabulary], log-softmax."""
        if not len(log_probs):
            return
        ids = log_probs.argmax(axis=1)
        best = log_probs.max(axis=1)
        starts = np.flatnonzero(np.diff(ids, prepend=-1))
        ends = np.append(starts[1:], len(ids))
        peaks = np.maximum.reduceat(best, starts)
        for id_, start, end, peak in zip(
            ids[starts].tolist(), starts.tolist(), ends.tolist(), peaks.tolist(), strict=True
        ):
            run = _Run(id_, self._frame_count + start, self._frame_count + end, peak)
            if self._open is not None and self._open.id == id_:
                self._open.end = run.end
                self._open.log_prob = max(self._open.log_prob, peak)
            else:
                self._close_run()
                self._open = run
        self._frame_count += len(ids)
        self._log_prob_sum += float(best.sum(dtype=np.float64))

    def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all frames, with no time after `duration_s`."""
        self._close_run()
        self._open = None
        words: list[list[_Run]] = [[]]
        for run in self._runs:
            if run.id == self._delimiter_id:
                words.append([])
            else:
                words[-1].append(run)
        spelled = [word for word in words if word]
        chars = [run for word in spelled for run in word]
        if chars:
            confidence = _geometric_mean(run.log_prob for run in chars)
        else:
            frames = self._frame_count
            confidence = math.exp(min(0.0, self._log_prob_sum / frames)) if frames else 0.0
        spans = tuple(self._span(word, duration_s) for word in spelled)
        return Transcription(
            text=" ".join(word.text for word in spans),
            confidence=confidence,
            words=spans,
            chars=tuple(self._span([run], duration_s) for run in chars),
        )

    def _close_run(self) -> None:
        if self._open is not None and not self._is_silent[self._open.id]:
            self._runs.append(self._open)

    def _span(self, runs: list[_Run], duration_s: float) -> Span:
        return Span(
            text="".join(self._vocabulary[run.id] for run in runs),
            start_s=min(runs[0].start * self._frame_s, duration_s),
            end_s=min(runs[-1].end * self._frame_s, duration_s),
            confidence=_geometric_mean(run.log_prob for run in runs),
        )


@dataclass(slots=True)
class _Run:
    """Neighbouring frames with the same best symbol."""

    id: int
    start: int
    end: int
    log_prob: float


def _geometric_mean(log_probs: Iterable[float]) -> float:
    values = list(log_probs)
    return math.exp(min(0.0, sum(values) / len(values)))
