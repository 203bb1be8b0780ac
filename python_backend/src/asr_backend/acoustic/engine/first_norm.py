"""The group norm after the first convolution, from the samples alone.

Its statistics are over time, one pair for each channel, so zeros behind a clip would change them.
A channel y(t) = w . x(t) + b, with x(t) the samples under the kernel at its place t, has the mean
w . m + b and the variance w' C w, where m and C are the mean and the covariance of x over all
places: numbers of the kernel's width, and its square, hold what the norm needs to know of a clip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class FirstNorm:
    """Turns samples into the norm's scale and shift.

    Args:
        conv: the first convolution, of one input channel.
        norm: the group norm behind it, a group a channel.
    """

    def __init__(self, conv: Any, norm: Any) -> None:
        kernel = conv.weight.detach().double().numpy()[:, 0]
        bias = 0 if conv.bias is None else conv.bias.detach().double().numpy()
        self._kernel, self._bias = kernel, bias
        self._stride = conv.stride[0]
        self._gain, self._offset = (
            part.detach().double().numpy() for part in (norm.weight, norm.bias)
        )
        self._eps = norm.eps

    def scale_and_shift(self, samples: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """What to multiply the convolution's output by, and then to add: each [1, channels, 1].

        Args:
            samples: of the clip, as the network hears them, and no padding.
        """
        width = self._kernel.shape[1]
        seen = np.lib.stride_tricks.sliding_window_view(samples, width)[:: self._stride]
        seen = seen.astype(np.float64)
        middle = seen.mean(axis=0)
        seen -= middle
        covariance = seen.T @ seen / len(seen)
        variance = np.einsum("cw,wv,cv->c", self._kernel, covariance, self._kernel)
        scale = self._gain / np.sqrt(variance + self._eps)
        shift = self._offset - (self._kernel @ middle + self._bias) * scale
        return [part.astype(np.float32)[None, :, None] for part in (scale, shift)]
