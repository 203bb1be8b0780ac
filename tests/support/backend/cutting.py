"""A whole recording cut into windows."""

from __future__ import annotations

from collections.abc import Iterable

from asr_backend.audio.format import Samples
from asr_backend.segmentation.windower import Window, Windower


def cut_into_windows(
    blocks: Iterable[Samples],
    *,
    max_window_s: float = 20,
    overlap_s: float = 2,
    stride_samples: int = 320,
) -> list[Window]:
    windower = Windower(
        max_window_s=max_window_s, overlap_s=overlap_s, stride_samples=stride_samples
    )
    windows = [window for block in blocks for window in windower.push(block)]
    last = windower.finish()
    return [*windows, last] if last else windows
