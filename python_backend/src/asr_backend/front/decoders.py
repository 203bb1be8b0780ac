"""From what a caller asks for to the decoder that does it."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.greedy import Decoder, GreedyDecoder
from asr_backend.ctc.ngram_files import NgramFiles
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.contract import Options

if TYPE_CHECKING:
    from asr_backend.ctc.beam import BeamSearch

DEFAULT_BEAM_WIDTH = 100
DEFAULT_HOTWORD_WEIGHT = 10.0


def can_search() -> bool:
    """Whether what the extra `beam` brings is installed."""
    return all(importlib.util.find_spec(module) for module in ("pyctcdecode", "kenlm"))


class Decoders:
    """Makes decoders; what they share is loaded here, once in a process.

    Args:
        checkpoint: whose emissions are decoded.
        ngrams: the language model of beam search.
    """

    def __init__(self, checkpoint: Checkpoint, ngrams: NgramFiles | None = None) -> None:
        self._checkpoint = checkpoint
        self._searches: dict[str | None, BeamSearch] = {}
        if can_search():
            # It warns of small vocabularies.
            logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
            from asr_backend.ctc.beam import BeamSearch

            # The language model is of the checkpoint's own language.
            for language in checkpoint.languages or [None]:
                own = language == checkpoint.language
                self._searches[language] = BeamSearch(
                    checkpoint.in_language(language), ngrams if own else None
                )

    def decoder(self, options: Options) -> Decoder:
        """A decoder for one recording in `options.language`.

        Raises:
            AsrError: UNKNOWN_LANGUAGE; BAD_OPTIONS where the server lacks what beam search needs,
                and for hot words that the checkpoint cannot write.
        """
        checkpoint = self._checkpoint.in_language(options.language)
        if options.decoder == "greedy":
            return GreedyDecoder(checkpoint)
        if not self._searches:
            raise AsrError(
                ErrorCode.BAD_OPTIONS,
                'decoder "beam" needs more on the server: install asr-backend[beam]',
            )
        from asr_backend.ctc.beam import BeamDecoder

        weight = options.hotword_weight
        return BeamDecoder(
            self._searches[checkpoint.language],
            beam_width=options.beam_width or DEFAULT_BEAM_WIDTH,
            hotwords=options.hotwords or (),
            hotword_weight=DEFAULT_HOTWORD_WEIGHT if weight is None else weight,
        )
