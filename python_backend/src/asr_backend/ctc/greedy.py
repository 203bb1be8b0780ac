"""Greedy decoding: the most probable symbol of every frame."""

from __future__ import annotations

import numpy as np

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.confidence import Silence
from asr_backend.ctc.emissions import Emissions, Merge, Run
from asr_backend.ctc.transcription import Transcription, transcription


class GreedyDecoder:
    """Takes the most probable symbol of every frame, collapses repeats, then drops blanks.

    A character is a run of frames with the same symbol. It lasts from the start of the first
    frame's stride to the end of the last one's. Letter case and symbols of several letters are
    those of the tokenizer; special symbols are dropped like blanks. The word delimiter separates
    words; without one in the vocabulary, the text is one word. Each phoneme is a word.
    `transcription` computes the confidences.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._silent_ids = checkpoint.silent_ids
        self._merge = Merge(checkpoint.vocabulary)
        self._runs: list[Run] = []
        # The last run, which the next push may continue; it may be silent.
        self._open: Run | None = None
        self._silence = Silence()

    def push(self, emissions: Emissions) -> None:
        """Take the next frames, float32 [any number, vocabulary], log-softmax."""
        if not len(emissions):
            return
        emissions = self._merge(emissions)
        ids = emissions.argmax(axis=1)
        best = emissions.max(axis=1)
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
        self._silence.push(emissions)

    def finish(self, duration_s: float) -> Transcription:
        """Return the transcript of all frames, with no time after `duration_s`."""
        self._close_run()
        self._open = None
        words: list[list[Run]] = [[]]
        delimiter_ids = self._checkpoint.delimiter_ids
        is_phoneme = self._checkpoint.spelling.phonemes
        for run in self._runs:
            if is_phoneme:
                words.append([run])
            elif run.id in delimiter_ids:
                words.append([])
            else:
                words[-1].append(run)
        return transcription(
            [word for word in words if word], self._checkpoint, self._silence, duration_s
        )

    def stop(self) -> None:
        """Do nothing: no call takes long."""

    def _close_run(self) -> None:
        if self._open is not None and self._open.id not in self._silent_ids:
            self._runs.append(self._open)
