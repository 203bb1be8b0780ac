"""What an engine can do; torch_engine and openvino_engine are the two that exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asr_backend.acoustic.features import Emissions
from asr_backend.checkpoint.description import Checkpoint


class Engine(Protocol):
    """Runs the network.

    Attributes:
        checkpoint: of the model.
        name: its precision, library and device, for people.
        max_windows: maximum windows of one forward; None for no limit.
        overflows: count of windows so far that overflowed and were computed again in fp32.
    """

    checkpoint: Checkpoint
    name: str
    max_windows: int | None
    overflows: int

    def forward(self, windows: Sequence[npt.NDArray[np.float32]]) -> list[Emissions]:
        """Run one padded forward in the language set last, initially the checkpoint's default.

        After the call the engine keeps no data of the windows.

        Args:
            windows: float32 [samples], 16 kHz mono with full scale 1, each at least the
                checkpoint's receptive field long, of any lengths and in any order.

        Returns:
            For each window the log-softmax that the clip would have alone. It is not finite where
            the network overflows, in fp32 too.

        Raises:
            MemoryError: the batch does not fit; fewer windows may fit.
            DeviceLost: no further forward of this process can succeed.
        """
        ...

    def computed_samples(self, lengths: Sequence[int]) -> int:
        """Samples, including padding, that a forward of windows of these lengths computes."""
        ...

    def use_language(self, language: str) -> None:
        """Switch to one of the checkpoint's `languages`.

        Raises:
            CheckpointError: the language's adapter has weights that are NaN or infinite.
            MemoryError: the adapter does not fit.
            DeviceLost: no further forward of this process can succeed.
        """
        ...
