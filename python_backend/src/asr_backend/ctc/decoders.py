"""Makes the decoder of one recording: greedy, or beam search."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Protocol

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.beam import BeamDecoder, BeamSearch
from asr_backend.ctc.emissions import Emissions
from asr_backend.ctc.greedy import GreedyDecoder
from asr_backend.ctc.ngram_files import NgramFiles
from asr_backend.ctc.search.library import SearchNotBuilt, load_library
from asr_backend.ctc.transcription import Transcription
from asr_backend.errors import AsrError, ErrorCode

DEFAULT_BEAM_WIDTH = 100
DEFAULT_HOTWORD_WEIGHT = 10.0


def can_use_language_models() -> bool:
    """Whether the package of the extra `beam` is installed."""
    return importlib.util.find_spec("kenlm") is not None


def why_no_search(ngrams: NgramFiles | None) -> str:
    """Why there is no beam search with this language model; "" if there is."""
    if ngrams is not None and not can_use_language_models():
        return "KenLM, for the checkpoint's language model (the extra beam)"
    try:
        load_library()
    except SearchNotBuilt as error:
        return str(error)
    return ""


class Decoder(Protocol):
    """Takes emissions as they become final, and returns a transcript at the end."""

    def push(self, emissions: Emissions) -> None:
        """Take the next frames."""
        ...

    def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all frames, with no time after `duration_s`."""
        ...

    def stop(self) -> None:
        """Stop a push or finish that runs in another thread: nobody waits for the transcript."""
        ...


@dataclass(frozen=True, kw_only=True)
class BeamSettings:
    """Settings of beam search for one recording."""

    width: int = DEFAULT_BEAM_WIDTH
    """Number of texts that are kept at each frame."""
    hotwords: tuple[str, ...] = ()
    """Words or phrases whose score is raised by `hotword_weight` each time they are found."""
    hotword_weight: float = DEFAULT_HOTWORD_WEIGHT
    """In units of natural log-probability."""


class Decoders:
    """Makes decoders. It loads what they share, once in a process.

    Args:
        checkpoint: its vocabulary is that of the emissions.
        ngrams: the language model of beam search.
    """

    def __init__(self, checkpoint: Checkpoint, ngrams: NgramFiles | None = None) -> None:
        self._checkpoint = checkpoint
        self._searches: dict[str | None, BeamSearch] = {}
        self._no_search = why_no_search(ngrams)
        if self._no_search:
            return
        # The language model is for the checkpoint's default language.
        for language in checkpoint.languages or [None]:
            own = language == checkpoint.language
            self._searches[language] = BeamSearch(
                checkpoint.in_language(language), ngrams if own else None
            )

    def decoder(self, language: str | None, beam: BeamSettings | None) -> Decoder:
        """Make the decoder of one recording.

        Args:
            language: the language of the symbols; None is the checkpoint's default.
            beam: settings of beam search; None decodes greedily.

        Raises:
            AsrError: UNKNOWN_LANGUAGE; BAD_OPTIONS if this server has no beam search, and for hot
                words that the checkpoint cannot write.
        """
        checkpoint = self._checkpoint.in_language(language)
        if beam is None:
            return GreedyDecoder(checkpoint)
        if self._no_search:
            raise AsrError(
                ErrorCode.BAD_OPTIONS, f'decoder "beam" needs more on the server: {self._no_search}'
            )
        return BeamDecoder(
            self._searches[checkpoint.language],
            beam_width=beam.width,
            hotwords=beam.hotwords,
            hotword_weight=beam.hotword_weight,
        )
