"""Where the time of one call goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

StageName = Literal["decode", "acoustic", "ctc"]


class Stages:
    """Seconds of wall clock by stage, since this was made.

    The stages are `decode`: in the audio decoder; `acoustic`: waiting for the acoustic model with
    nothing else to do, its queue included; `ctc`: stitching windows and making the text.

    Decoding of later windows overlaps the acoustic model's work on earlier ones, so the stages may
    add up to more than the total.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds: dict[StageName, float] = {"decode": 0.0, "acoustic": 0.0, "ctc": 0.0}

    @contextmanager
    def stage(self, name: StageName) -> Iterator[None]:
        """Count the time of a block as that of a stage; a stage may have several blocks."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage and of all together (`total`), up to now."""
        seconds: dict[str, float] = {name: value for name, value in self._seconds.items()}
        seconds["total"] = time.perf_counter() - self._started
        return seconds
