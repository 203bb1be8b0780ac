"""Whether the limits are kept, and the order of the systems, in sentences made from the cells."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.cells import Cell
from benchmarks.systems import offline_engine, service

SHARE_BAR = 0.90
"""The share of its offline engine's RTFx that the service should reach."""
SATURATED = 16
"""Callers that keep the machine busy."""
LATENCY_FACTOR = 1.05
LATENCY_S = 0.005
"""One caller should wait no longer than LATENCY_FACTOR times the engine's time plus LATENCY_S."""
PRECISIONS = ("auto", "fp32")


def verdicts(cells: Sequence[Cell]) -> list[str]:
    """The sentences; none where there is nothing to compare.

    Args:
        cells: of the whole run, each with a pass in which something was answered.
    """
    lines = []
    for mix in dict.fromkeys(cell.mix for cell in cells):
        of_mix = [cell for cell in cells if cell.mix == mix]
        for precision in PRECISIONS:
            lines += _share(of_mix, mix, precision)
            lines += _latency(of_mix, mix, precision)
        lines += _places(of_mix, mix)
    return lines


def share_that_reaches_callers(served: Cell, offline: Sequence[Cell]) -> float:
    """The service's RTFx over the engine's best in the same round: the median of the rounds."""
    rounds = zip(*(cell.passes for cell in (served, *offline)), strict=False)
    shares: list[float] = [
        first.rtfx / max(other.rtfx for other in others) for first, *others in rounds
    ]
    return float(statistics.median(shares))


def latency_over_engine(served: Cell, offline: Cell) -> list[tuple[float, float]]:
    """For each clip, seconds through the service and in the engine: medians of its calls."""
    through, alone = _medians(served), _medians(offline)
    return [(through[clip], alone[clip]) for clip in sorted(through.keys() & alone.keys())]


def _share(cells: Sequence[Cell], mix: str, precision: str) -> list[str]:
    served = _find(cells, service.NAME.format(precision), SATURATED)
    offline = [cell for cell in cells if cell.system.name == offline_engine.NAME.format(precision)]
    if served is None or not offline:
        return []
    share = share_that_reaches_callers(served, offline)
    work = min(cell.cpu_per_audio for cell in offline) / served.cpu_per_audio
    return [
        f"{mix}, {precision}: {share:.0%} of the offline engine's RTFx reaches {SATURATED} callers "
        f"(bar {SHARE_BAR:.0%}: {'met' if share >= SHARE_BAR else 'missed'}); of the processor "
        f"time that the service uses for them, the engine alone would use {work:.0%}."
    ]


def _latency(cells: Sequence[Cell], mix: str, precision: str) -> list[str]:
    served = _find(cells, service.NAME.format(precision), 1)
    offline = _find(cells, offline_engine.NAME.format(precision), 1)
    if served is None or offline is None:
        return []
    pairs = latency_over_engine(served, offline)
    met = sum(through <= LATENCY_FACTOR * alone + LATENCY_S for through, alone in pairs)
    added_ms = 1000 * statistics.median(through - alone for through, alone in pairs)
    return [
        f"{mix}, {precision}: one caller waits no longer than {LATENCY_FACTOR} times the engine "
        f"plus {1000 * LATENCY_S:.0f} ms for {met} of {len(pairs)} clips; the median clip takes "
        f"{added_ms:.1f} ms more than in the engine."
    ]


def _places(cells: Sequence[Cell], mix: str) -> list[str]:
    """The service's place among the peers, for each number of clips at once."""
    lines = []
    for precision in PRECISIONS:
        name = service.NAME.format(precision)
        for at_once in sorted({cell.at_once for cell in cells}):
            mine = _find(cells, name, at_once)
            peers = [c for c in cells if c.at_once == at_once and c.system.is_peer]
            if mine is None or not peers:
                continue
            ahead = [_score(peer) for peer in peers if peer.rtfx > mine.rtfx]
            nearest = _score(max(peers, key=lambda cell: cell.rtfx))
            place = f"behind {', '.join(ahead)}" if ahead else f"ahead of all, nearest {nearest}"
            lines.append(f"{mix}, {at_once} at once: {name} (RTFx {mine.rtfx:.1f}) is {place}.")
    return lines


def _find(cells: Sequence[Cell], name: str, at_once: int) -> Cell | None:
    return next((c for c in cells if (c.system.name, c.at_once) == (name, at_once)), None)


def _score(cell: Cell) -> str:
    return f"{cell.system.name} ({cell.rtfx:.1f})"


def _medians(cell: Cell) -> dict[int, float]:
    took_s = defaultdict(list)
    for call in cell.calls:
        if not call.error:
            took_s[call.clips[0]].append(call.took_s)
    return {clip: statistics.median(each) for clip, each in took_s.items()}
