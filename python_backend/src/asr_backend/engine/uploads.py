"""Batches on their way to a GPU: the next one is copied while the network works on this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

Window = npt.NDArray[np.float32]


class Uploads:
    """Copies on a stream of their own, from pinned memory, at most one ahead of its use.

    Args:
        device: a CUDA device.
        fill: writes windows into the rows of a batch of zeros, float32 [windows, longest].
    """

    def __init__(
        self,
        device: torch.device,
        fill: Callable[[npt.NDArray[np.float32], Sequence[Window]], None],
    ) -> None:
        self._device = device
        self._fill = fill
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._ahead: tuple[list[int], torch.Tensor] | None = None

    def start(self, windows: Sequence[Window]) -> None:
        """Begin the copy of a batch that `take` will most likely ask for next."""
        shape = len(windows), max(window.size for window in windows)
        self._ahead = None
        # torch's allocator of pinned memory keeps a block until the copy from it is done.
        pinned = torch.zeros(shape, pin_memory=True)
        self._fill(pinned.numpy(), windows)
        with torch.cuda.stream(self._stream):
            self._ahead = _names(windows), pinned.to(self._device, non_blocking=True)

    def take(self, windows: Sequence[Window]) -> torch.Tensor:
        """The batch on the GPU, for work on the current stream; copied now if it is not ahead."""
        if self._ahead is None or self._ahead[0] != _names(windows):
            self.start(windows)
        assert self._ahead is not None
        batch = self._ahead[1]
        self._ahead = None
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        # Else its memory could go to the next copy while this stream still reads it.
        batch.record_stream(current)
        return batch


def _names(windows: Sequence[Window]) -> list[int]:
    """What tells these windows from others as long as their caller holds them."""
    return [id(window) for window in windows]
