"""CTC emissions to text, words and characters with times and confidences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from asr_backend.checkpoint.description import Checkpoint


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
    channel: int | None = None
    """The channel it was heard on, where channels are kept apart."""


@dataclass(frozen=True, kw_only=True)
class ChannelText:
    """What was said on one channel."""

    text: str
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
    channels: tuple[ChannelText, ...] = ()
    """One for each channel, in order, where channels are kept apart."""


class Decoder(Protocol):
    """Emissions in, as they become final; a transcript out at the end."""

    def push(self, log_probs: npt.NDArray[np.float32]) -> None:
        """Take the next frames, float32 [any number, vocabulary]."""
        ...

    def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all frames, with no time after `duration_s`."""
        ...

    def stop(self) -> None:
        """End a push or finish that runs in another thread: nobody waits for the transcript."""
        ...


class GreedyDecoder:
    """The most probable symbol of every frame: repeats collapse first, then blanks drop.

    A character is a run of frames with the same symbol; its time is from the start of the first
    frame's stride to the end of the last one's. Letter case and symbols of several letters stay
    as the vocabulary has them; special symbols drop as blanks do. Words are what the word
    delimiter separates; a vocabulary without one gives one word. Confidences are those of
    `transcription`.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._silent_ids = silent_ids(checkpoint)
        self._runs: list[Run] = []
        # The run that the next push may go on with, silent ones included.
        self._open: Run | None = None
        self._silence = Silence()

    def push(self, log_probs: npt.NDArray[np.float32]) -> None:
        """Take the next frames, float32 [any number, vocabulary], log-softmax."""
        if not len(log_probs):
            return
        ids = log_probs.argmax(axis=1)
        best = log_probs.max(axis=1)
        starts = np.flatnonzero(np.diff(ids, prepend=-1))
        ends = np.append(starts[1:], len(ids))
        peaks = np.maximum.reduceat(best, starts)
        before = self._silence.frame_count
        for id_, start, end, peak in zip(
            ids[starts].tolist(), starts.tolist(), ends.tolist(), peaks.tolist(), strict=True
        ):
            run = Run(id_, before + start, before + end, peak)
            if self._open is not None and self._open.id == id_:
                self._open.end = run.end
                self._open.log_prob = max(self._open.log_prob, peak)
            else:
                self._close_run()
                self._open = run
        self._silence.push(log_probs)

    def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all frames, with no time after `duration_s`."""
        self._close_run()
        self._open = None
        words: list[list[Run]] = [[]]
        for run in self._runs:
            if run.id == self._checkpoint.word_delimiter_id:
                words.append([])
            else:
                words[-1].append(run)
        return transcription(
            [word for word in words if word], self._checkpoint, self._silence, duration_s
        )

    def stop(self) -> None:
        """Nothing to end: no call takes long."""

    def _close_run(self) -> None:
        if self._open is not None and self._open.id not in self._silent_ids:
            self._runs.append(self._open)


@dataclass(slots=True)
class Run:
    """Neighbouring frames that hold one symbol."""

    id: int
    start: int
    """The first frame."""
    end: int
    """The frame behind the last one."""
    log_prob: float
    """The symbol's highest log-probability in these frames."""


@dataclass(slots=True)
class Silence:
    """What the confidence of a text without characters is made of."""

    frame_count: int = 0
    _log_prob_sum: float = 0.0

    def push(self, log_probs: npt.NDArray[np.float32]) -> None:
        """Count the next frames, float32 [any number, vocabulary]."""
        self.frame_count += len(log_probs)
        self._log_prob_sum += float(log_probs.max(axis=1).sum(dtype=np.float64))

    @property
    def confidence(self) -> float:
        """Geometric mean of the best symbol's probability over all frames; 0 if there are none."""
        if not self.frame_count:
            return 0.0
        return _probability(self._log_prob_sum / self.frame_count)


def silent_ids(checkpoint: Checkpoint) -> frozenset[int]:
    """Ids that drop as blanks do: the blank, the special ones, those without a symbol."""
    nameless = {id_ for id_, symbol in enumerate(checkpoint.vocabulary) if not symbol}
    silent = {checkpoint.blank_id, *checkpoint.special_ids} - {checkpoint.word_delimiter_id}
    return frozenset(silent | nameless)


def transcription(
    words: Sequence[Sequence[Run]], checkpoint: Checkpoint, silence: Silence, duration_s: float
) -> Transcription:
    """The transcript of words of at least one character each.

    Confidences: of a character, the highest probability of its symbol in its frames; of a word, the
    product over its characters, which is the probability that all of them are right if each is by
    itself; of the text, the mean over its words, the share of them to expect right. In a vocabulary
    without a word delimiter the word and the text have the mean over the characters. A text without
    characters has that of `silence`.
    """
    frame_s = checkpoint.stride_samples / checkpoint.sample_rate_hz

    def span(runs: Sequence[Run], confidence: float) -> Span:
        return Span(
            text="".join(checkpoint.vocabulary[run.id] for run in runs),
            start_s=min(runs[0].start * frame_s, duration_s),
            end_s=min(runs[-1].end * frame_s, duration_s),
            confidence=confidence,
        )

    spelled = [[span([run], _probability(run.log_prob)) for run in word] for word in words]
    together = math.prod if checkpoint.word_delimiter_id is not None else fmean
    spans = tuple(
        span(word, together([char.confidence for char in chars]))
        for word, chars in zip(words, spelled, strict=True)
    )
    return Transcription(
        text=" ".join(word.text for word in spans),
        confidence=fmean(word.confidence for word in spans) if spans else silence.confidence,
        words=spans,
        chars=tuple(char for chars in spelled for char in chars),
    )


def side_by_side(channels: Sequence[Transcription]) -> Transcription:
    """The transcript of a recording whose channels were transcribed each for itself.

    Words and characters are sorted by their start. The confidence is the mean over all words, or
    over the channels where there are none.
    """
    words = _merged([channel.words for channel in channels])
    return Transcription(
        text="\n".join(channel.text for channel in channels),
        confidence=fmean(one.confidence for one in words or channels),
        words=words,
        chars=_merged([channel.chars for channel in channels]),
        channels=tuple(
            ChannelText(text=channel.text, confidence=channel.confidence) for channel in channels
        ),
    )


def _merged(channels: Sequence[Sequence[Span]]) -> tuple[Span, ...]:
    spans = [
        replace(span, channel=channel) for channel, heard in enumerate(channels) for span in heard
    ]
    return tuple(sorted(spans, key=attrgetter("start_s")))


def _probability(log_prob: float) -> float:
    return math.exp(min(0.0, log_prob))
