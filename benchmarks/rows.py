"""The figures of a cell: one row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from benchmarks.cells import Call, Cell
from tools.word_errors import word_errors


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the CSV file; what could not be measured is None, and `note` says why."""

    mix: str
    system: str
    at_once: int
    """Calls in flight, or clips in a call of a program that is handed batches."""
    calls: int = 0
    """Calls that ended, failed ones included."""
    failed: int = 0
    audio_s: float | None = None
    """Seconds of audio answered, over all passes."""
    wall_s: float | None = None
    """Seconds that it took."""
    rtfx: float | None = None
    """Seconds of audio answered in a second: the median of the passes."""
    cpu_per_audio: float | None = None
    """Seconds of processor time for a second of audio, the callers' own not counted."""
    p50_s: float | None = None
    """Median time of a call; the two below are percentiles of the same."""
    p95_s: float | None = None
    p99_s: float | None = None
    padding_waste: float | None = None
    """The share of the network's work that was padding, 0 to 1."""
    peak_mib: float | None = None
    """Maximum memory of the system's processes while the mix was measured, MiB."""
    equal: float | None = None
    """The share of clips whose transcript was always the reference's, 0 to 1."""
    same_as_alone: float | None = None
    """The share of clips whose transcript was always that of the same system's first pass with one
    clip at once, 0 to 1."""
    character_errors: float | None = None
    """Characters to insert, delete or replace to get the reference, over those of the reference."""
    note: str = ""


COLUMNS = tuple(field.name for field in fields(Row))


def row_of(cell: Cell, *, reference: Sequence[str], alone: Cell | None, peak_bytes: int) -> Row:
    """Sum up a cell.

    Args:
        cell: with one pass or more.
        reference: the transcript that each clip of the mix should have.
        alone: the same system with one clip at once; None where that was not measured.
        peak_bytes: maximum memory of the system's processes.
    """
    good = [call for call in cell.calls if not call.error]
    errors = [call.error for call in cell.calls if call.error]
    row = Row(
        mix=cell.mix,
        system=cell.system.name,
        at_once=cell.at_once,
        calls=len(cell.calls),
        failed=len(errors),
        note=f"{len(errors)} of {len(cell.calls)} calls failed: {errors[0]}" if errors else "",
    )
    if not good:
        return row
    answers = _answers(good)
    took_s = [call.took_s for call in good]
    return replace(
        row,
        audio_s=sum(each.audio_s for each in cell.passes),
        wall_s=sum(each.wall_s for each in cell.passes),
        rtfx=cell.rtfx,
        cpu_per_audio=cell.cpu_per_audio,
        p50_s=float(np.percentile(took_s, 50)),
        p95_s=float(np.percentile(took_s, 95)),
        p99_s=float(np.percentile(took_s, 99)),
        padding_waste=_waste(cell),
        peak_mib=peak_bytes / 2**20,
        equal=_same(answers, dict(enumerate(reference))),
        same_as_alone=_same(answers, dict(_answers(alone.passes[0].calls))) if alone else None,
        character_errors=_character_errors([(reference[clip], text) for clip, text in answers]),
    )


def _answers(calls: Sequence[Call]) -> list[tuple[int, str]]:
    """Each clip that was answered, with its transcript."""
    return [
        (clip, _plain(text))
        for call in calls
        if not call.error
        for clip, text in zip(call.clips, call.texts, strict=True)
    ]


def _same(answers: Sequence[tuple[int, str]], wanted: Mapping[int, str]) -> float:
    """The share of clips that always had the wanted transcript."""
    changed = {clip for clip, text in answers if text != wanted.get(clip)}
    return 1 - len(changed) / len({clip for clip, _ in answers})


def _waste(cell: Cell) -> float | None:
    audio_s = sum(each.padding.audio_s for each in cell.passes)
    padded_s = sum(each.padding.padded_s for each in cell.passes)
    return max(0.0, 1 - audio_s / padded_s) if padded_s else None


def _character_errors(pairs: Sequence[tuple[str, str]]) -> float:
    wanted = sum(len(reference) for reference, _ in pairs)
    return sum(_edits(reference, text) for reference, text in pairs) / max(1, wanted)


def _plain(text: str) -> str:
    """One space between words, none at the ends: some decoders leave more."""
    return " ".join(text.split())


@cache
def _edits(reference: str, text: str) -> int:
    if reference == text:
        return 0
    return word_errors(*(" ".join(each.replace(" ", "_")) for each in (reference, text)))
