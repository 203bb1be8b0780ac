"""The transcript: text, words and characters with times and confidences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from statistics import fmean

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.confidence import Silence, probability
from asr_backend.ctc.emissions import Run


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
    """Its channel, if channels are transcribed separately."""


@dataclass(frozen=True, kw_only=True)
class ChannelText:
    """The transcript of one channel."""

    text: str
    confidence: float
    """In [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Transcription:
    """The transcript of one recording."""

    text: str
    confidence: float
    """In [0, 1]."""
    words: tuple[Span, ...]
    chars: tuple[Span, ...]
    """The visible characters in order, without the spaces between words."""
    channels: tuple[ChannelText, ...] = ()
    """One for each channel, in order, if channels are transcribed separately."""


def transcription(
    words: Sequence[Sequence[Run]], checkpoint: Checkpoint, silence: Silence, duration_s: float
) -> Transcription:
    """Make the transcript of words of at least one character each.

    The confidence of a character is the highest probability of its symbol in its frames. That of a
    word is the product over its characters: the probability that all of them are right, if they are
    independent. That of the text is the mean over its words: the expected share of right words.
    Without a word delimiter in the vocabulary, the word and the text have the mean over the
    characters. The tokenizer's settings decide what stands between words, and the case. A text
    without characters has the confidence of `silence`.
    """
    frame_s = checkpoint.stride_samples / checkpoint.sample_rate_hz
    spelling = checkpoint.spelling

    def spelled_by(runs: Sequence[Run]) -> str:
        return "".join(checkpoint.vocabulary[run.id] for run in runs)

    def span(runs: Sequence[Run], confidence: float) -> Span:
        return Span(
            text=spelling.word(spelled_by(runs)),
            start_s=min(runs[0].start * frame_s, duration_s),
            end_s=min(runs[-1].end * frame_s, duration_s),
            confidence=confidence,
        )

    characters = [[span([run], probability(run.log_prob)) for run in word] for word in words]
    together = math.prod if checkpoint.word_delimiter_id is not None else fmean
    spans = tuple(
        span(word, together([char.confidence for char in chars]))
        for word, chars in zip(words, characters, strict=True)
    )
    return Transcription(
        text=spelling.text([spelled_by(word) for word in words]),
        confidence=fmean(word.confidence for word in spans) if spans else silence.confidence,
        words=spans,
        chars=tuple(char for chars in characters for char in chars),
    )


def side_by_side(channels: Sequence[Transcription]) -> Transcription:
    """Merge the transcripts of the channels of a recording.

    Words and characters are sorted by their start. The confidence is the mean over all words, or
    over the channels if there are no words.
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
        replace(span, channel=channel)
        for channel, of_channel in enumerate(channels)
        for span in of_channel
    ]
    return tuple(sorted(spans, key=attrgetter("start_s")))
