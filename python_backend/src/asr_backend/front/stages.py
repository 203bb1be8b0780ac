"""Measures the time of one call by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

StageName = Literal["decode", "acoustic", "ctc"]


class Stages:
    """Seconds of wall clock by stage, from the moment of creation.

    - `decode`: the audio decoder, and the queue for its threads.
    - `acoustic`: waiting for the acoustic model, its queue included, with nothing else to do.
    - `ctc`: stitching the windows and making the text.

    Channels that are transcribed side by side each add their time, so the stages may add up to
    more than the total.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds: dict[StageName, float] = {"decode": 0.0, "acoustic": 0.0, "ctc": 0.0}

    @contextmanager
    def stage(self, name: StageName) -> Iterator[None]:
        """Add the time of a block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, and since the start (`total`)."""
        seconds: dict[str, float] = {name: value for name, value in self._seconds.items()}
        seconds["total"] = time.perf_counter() - self._started
        return seconds
