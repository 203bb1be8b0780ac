"""A stream of samples cut into windows that lie on the acoustic model's frame grid."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.segmentation.pauses import find_pause

SHORTEST_S = 2.0
"""Before a pause, at most half of the longest: a normalisation over less audio is a poor one."""
PAUSE_CONTEXT_S = 0.1
"""How much of a pause's silence each neighbour hears on its own side, to within a frame of 20 ms: a
frame that has a few samples of speech may count as silent."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the acoustic model sees in one forward."""

    index: int
    start_sample: int
    """From the start of the audio; a multiple of the stride."""
    samples: npt.NDArray[np.float32]
    """float32 [samples], mono, 16 kHz."""
    last: bool
    after_pause: bool = False
    """Whether it begins in a pause that the window before ends in: between two words. There may be
    silence between the two that neither has."""


def windows(
    blocks: Iterable[npt.NDArray[np.float32]],
    *,
    max_window_s: float,
    overlap_s: float,
    stride_samples: int,
) -> Generator[Window, None, None]:
    """Cut audio into windows, pulling blocks only as they are needed.

    Audio of at most `max_window_s` is one window. Longer audio is cut in the first good pause, as
    if what is said had been sent phrase by phrase; nobody hears the inside of its silence. Where
    there is no pause, the window has its full length and the next one shares `overlap_s` with it.
    The last window starts earlier where it would else be too short: shorter than SHORTEST_S behind
    a pause, than half of the longest elsewhere. Starts are multiples of the stride, so that frame k
    of a window is frame k + start_sample / stride of the audio. At most two windows of samples and
    a block are held.

    Args:
        blocks: float32 [any number] each; closed with the windows if they are a generator.
        max_window_s: longest window; rounded down to whole strides.
        overlap_s: less than half of it; rounded down to whole strides, of which one at least
            must remain.
        stride_samples: samples from one frame to the next.

    Yields:
        Windows in order; none if there are no samples.

    Raises:
        ValueError: lengths that do not fit each other.
    """
    longest = round(max_window_s * SAMPLE_RATE_HZ) // stride_samples * stride_samples
    overlap = round(overlap_s * SAMPLE_RATE_HZ) // stride_samples * stride_samples
    if not 0 < overlap < longest / 2:
        raise ValueError(
            f"overlap_s must be from {stride_samples / SAMPLE_RATE_HZ:g} to less than half of "
            f"max_window_s, not {overlap_s:g} of {max_window_s:g}"
        )
    held = np.zeros(0, np.float32)
    waiting: list[npt.NDArray[np.float32]] = []
    waiting_count = 0
    # Where the samples held, and the next window, start; a last window may start in between.
    held_start = start = index = heard_to = 0
    after_pause = False
    with closing(blocks) if isinstance(blocks, Generator) else nullcontext():
        for block in blocks:
            waiting.append(block)
            waiting_count += len(block)
            # One sample more than a window, and the window is not the last.
            if held_start + len(held) + waiting_count <= start + longest:
                continue
            held = np.concatenate([held, *waiting])
            waiting, waiting_count = [], 0
            while held_start + len(held) > start + longest:
                held = held[start - held_start :]
                held_start = start
                end, following, in_pause = _cut(held[:longest], overlap, stride_samples)
                yield Window(
                    index=index,
                    start_sample=start,
                    samples=held[:end].copy(),
                    last=False,
                    after_pause=after_pause,
                )
                heard_to = start + end
                start, index, after_pause = start + following, index + 1, in_pause
    held = np.concatenate([held, *waiting])
    end = held_start + len(held)
    if end:
        shortest = _shortest(longest) if after_pause else longest // 2
        latest = (end - shortest) // stride_samples * stride_samples
        if index and start > latest:
            start, after_pause = latest, after_pause and latest >= heard_to
        yield Window(
            index=index,
            start_sample=start,
            samples=held[start - held_start :],
            last=True,
            after_pause=after_pause,
        )


def _shortest(longest: int) -> int:
    return min(round(SHORTEST_S * SAMPLE_RATE_HZ), longest // 2)


def _cut(
    longest: npt.NDArray[np.float32], overlap: int, stride_samples: int
) -> tuple[int, int, bool]:
    """Where a window ends that may be so long, where the next starts, and if a pause is there."""
    pause = find_pause(longest, first=max(overlap, _shortest(len(longest))))
    if pause is None:
        return len(longest), len(longest) - overlap, False
    context = round(PAUSE_CONTEXT_S * SAMPLE_RATE_HZ)
    silence_start, silence_end = pause.silence
    end = min(silence_start + context, pause.end)
    following = max(silence_end - context, pause.start)
    return end, following // stride_samples * stride_samples, True
