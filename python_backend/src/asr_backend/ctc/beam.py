"""CTC beam search: the most probable text instead of the most probable path.

A language model needs the package of the extra `beam`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.alignment import Part, align, spellings
from asr_backend.ctc.confidence import Silence
from asr_backend.ctc.emissions import Emissions, Merge, Run
from asr_backend.ctc.ngram_files import NgramFiles
from asr_backend.ctc.search.library import PrefixSearch, Stop
from asr_backend.ctc.segments import Segments
from asr_backend.ctc.transcription import Transcription, transcription
from asr_backend.errors import AsrError, ErrorCode

MIN_SEGMENT_S = 8.0
"""Segments are short because their emissions are held, and their words aligned, as one."""
MAX_SEGMENT_S = 20.0

# A text has white space between words alone: letters of private use stand for that in a symbol.
_WHITE_SPACE = [letter for letter in map(chr, range(0x3001)) if letter.isspace()]
_INSIDE_SYMBOLS = {ord(letter): 0xE000 + place for place, letter in enumerate(_WHITE_SPACE)}


class BeamSearch:
    """The part of beam search that all recordings share; safe to use from several threads.

    Args:
        checkpoint: its vocabulary is that of the emissions.
        ngrams: the language model to load, if any.
    """

    def __init__(self, checkpoint: Checkpoint, ngrams: NgramFiles | None = None) -> None:
        self.checkpoint = checkpoint
        silent = checkpoint.silent_ids
        self.silent_ids = sorted(silent)
        self.delimiter_ids = sorted(checkpoint.delimiter_ids)
        self.merge = Merge(checkpoint.vocabulary)
        self.ids: dict[str, int] = {}
        self._phonemes = checkpoint.spelling.phonemes
        labels = []
        for id_, symbol in enumerate(checkpoint.vocabulary):
            if id_ in silent:
                labels.append("")
            elif id_ in checkpoint.delimiter_ids:
                labels.append(" ")
            else:
                label = symbol.translate(_INSIDE_SYMBOLS)
                self.ids.setdefault(label, id_)
                labels.append(label)
        self._letters = frozenset("".join(self.ids))
        model = None
        if ngrams is not None:
            from asr_backend.ctc.language_model import Ngrams

            model = Ngrams(ngrams)
        self._search = PrefixSearch(labels, model, symbols_are_words=self._phonemes)

    def hotwords(self, given: Sequence[str]) -> list[str]:
        """Write hot words in the checkpoint's letters: in its case, if it has only one.

        Raises:
            AsrError: BAD_OPTIONS for a letter that the checkpoint never writes.
        """
        written: dict[str, str] = {}
        words = [word for phrase in given for word in phrase.split()]
        for word in words if self._phonemes else ():
            if word not in self.ids:
                raise AsrError(
                    ErrorCode.BAD_OPTIONS,
                    f"hotwords has {word[:40]!a}, which is none of this checkpoint's phonemes",
                )
        for word in words:
            for letter in word:
                if letter not in written:
                    written[letter] = self._letter(letter, word)
        return ["".join(map(written.__getitem__, word)) for word in words]

    def search(
        self,
        emissions: Emissions,
        *,
        beam_width: int,
        hotwords: Sequence[str],
        hotword_weight: float,
        state: Any,
        last: bool,
        stop: Stop,
    ) -> tuple[list[list[Run]], Any]:
        """Find the words of one segment, and the language model's state after them.

        Raises:
            SearchStopped: `stop` was set.
        """
        text, state = self._search.find(
            emissions,
            beam_width=beam_width,
            hotwords=hotwords,
            hotword_weight=hotword_weight,
            state=state,
            last=last,
            stop=stop,
        )
        # The search has no frames: many paths lead to a text.
        words = align(
            emissions,
            self._spelled(text),
            silent_ids=self.silent_ids,
            delimiter_ids=self.delimiter_ids,
        )
        return [[run] for run in words[0]] if self._phonemes and words else words, state

    def _spelled(self, text: str) -> list[list[Part]]:
        """The symbols of each word of a text; no delimiter is between phonemes."""
        if self._phonemes:
            ids = [self.ids[phoneme] for phoneme in text.split()]
            return [[Part(at, at + 1, id_) for at, id_ in enumerate(ids)]] if ids else []
        return [spellings(word, self.ids) for word in text.split()]

    def _letter(self, letter: str, word: str) -> str:
        for form in (letter, letter.upper(), letter.lower()):
            if form in self._letters:
                return form
        raise AsrError(
            ErrorCode.BAD_OPTIONS,
            f"hotwords has {word[:40]!a}, and this checkpoint never writes {letter!a}",
        )


class BeamDecoder:
    """Decodes one recording by beam search.

    Times and confidences are those of the most probable path that spells the text. So they are
    equal to those of greedy decoding if both find the same text.

    Args:
        search: shared by all recordings.
        beam_width: number of texts that are kept at each frame.
        hotwords: words whose score is raised by `hotword_weight` each time they are found.
        hotword_weight: in units of natural log-probability.

    Raises:
        AsrError: BAD_OPTIONS for a hot word that the checkpoint cannot write.
    """

    def __init__(
        self, search: BeamSearch, *, beam_width: int, hotwords: Sequence[str], hotword_weight: float
    ) -> None:
        checkpoint = search.checkpoint
        frames_per_s = checkpoint.sample_rate_hz / checkpoint.stride_samples
        self._search = search
        self._options: dict[str, Any] = {
            "beam_width": beam_width,
            "hotwords": search.hotwords(hotwords),
            "hotword_weight": hotword_weight,
        }
        self._segments = Segments(
            checkpoint,
            min_frames=round(MIN_SEGMENT_S * frames_per_s),
            max_frames=round(MAX_SEGMENT_S * frames_per_s),
        )
        self._words: list[list[Run]] = []
        self._state: Any = None
        self._frame_count = 0
        self._silence = Silence()
        self._stop = Stop()

    def push(self, emissions: Emissions) -> None:
        """Take the next frames, float32 [any number, vocabulary], log-softmax."""
        for segment in self._segments.push(self._search.merge(emissions)):
            self._read(segment, last=False)

    def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all frames, with no time after `duration_s`."""
        self._read(self._segments.finish(), last=True)
        words = self._words
        if not self._search.delimiter_ids and not self._search.checkpoint.spelling.phonemes:
            words = [[run for word in words for run in word]] if words else []
        return transcription(words, self._search.checkpoint, self._silence, duration_s)

    def stop(self) -> None:
        """Make a push or finish in another thread raise SearchStopped at its next frame."""
        self._stop.set()

    def _read(self, segment: Emissions, *, last: bool) -> None:
        if not len(segment):
            return
        words, self._state = self._search.search(
            segment,
            state=self._state,
            last=last,
            stop=self._stop,
            **self._options,
        )
        before = self._silence.frame_count
        self._words += [
            [Run(run.id, before + run.start, before + run.end, run.log_prob) for run in word]
            for word in words
        ]
        self._silence.push(segment)
