"""The group norm after the first convolution as a scale and a shift, from the samples alone.

The rule is that of first_norm.py, for one clip and in numpy: a process that serves with OpenVINO
needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipNorm:
    """Weights of the first convolution and of the norm behind it, a group a channel.

    Attributes:
        kernel: [channels, width].
        conv_bias: the convolution's, [channels].
        weight: the norm's factors, [channels].
        bias: the norm's summands, [channels].
        stride: of the convolution, in samples.
        epsilon: added to each variance.
    """

    kernel: Float64s
    conv_bias: Float64s
    weight: Float64s
    bias: Float64s
    stride: int
    epsilon: float

    def scale_and_shift(self, samples: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Factor and summand of the convolution's output that give the norm's.

        Args:
            samples: float32 [samples], as the network gets them; at least a kernel long.

        Returns:
            Two arrays, float32 [1, channels, 1].
        """
        windows = np.lib.stride_tricks.sliding_window_view(samples, self.kernel.shape[1])
        patches = windows[:: self.stride].astype(np.float64)
        mean = patches.sum(0) / len(patches)
        covariance = patches.T @ patches / len(patches) - np.outer(mean, mean)
        # Rounding may leave a little less than nothing.
        variance = np.maximum(((self.kernel @ covariance) * self.kernel).sum(-1), 0.0)
        scale = self.weight / np.sqrt(variance + self.epsilon)
        shift = self.bias - (self.kernel @ mean + self.conv_bias) * scale
        return [part.astype(np.float32)[None, :, None] for part in (scale, shift)]
