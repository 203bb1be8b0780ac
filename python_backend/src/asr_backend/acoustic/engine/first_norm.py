"""The statistics of the group norm after the first convolution, from the samples alone.

The norm's statistics are over time, one pair for each channel, so zeros behind a clip would change
them. A channel y(t) = w . x(t) + b, where x(t) is the patch of samples under the kernel at frame t,
has the mean w . m + b and the variance w' C w. m is the mean of the patches and C their covariance:
both are no larger than the kernel's width and its square, and need no pass over the features.
"""

from __future__ import annotations

from typing import Any

import torch


class FirstNorm:
    """Computes the norm's mean and scale for each clip.

    Args:
        conv: the first convolution, of one input channel. Its weights and those of the norm are
            read in each call, in whatever dtype they are then.
        norm: the group norm behind it, a group a channel.
    """

    def __init__(self, conv: Any, norm: Any) -> None:
        self._conv = conv
        self._norm = norm

    def mean_and_scale(
        self, samples: torch.Tensor, frames: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The norm is `(features - mean) * scale + norm.bias`.

        Args:
            samples: [clips, samples], as the network gets them.
            frames: int [clips], the first convolution's frames of each clip; None where all clips
                are as long as `samples`.

        Returns:
            The mean of the convolution's output and the factor, float64 [clips, channels] each.
        """
        kernel = self._conv.weight[:, 0].double()
        patches = samples.unfold(1, kernel.shape[1], self._conv.stride[0]).double()
        if frames is None:
            count: Any = patches.shape[1]
        else:
            behind = torch.arange(patches.shape[1], device=frames.device) >= frames[:, None]
            patches = patches.masked_fill(behind[..., None], 0)
            count = frames[:, None, None]
        mean = patches.sum(1, keepdim=True) / count
        covariance = patches.mT @ patches / count - mean.mT @ mean
        # Rounding may leave a little less than nothing.
        variance = ((kernel @ covariance) * kernel).sum(-1).clamp_min(0)
        scale = self._norm.weight.double() * torch.rsqrt(variance + self._norm.eps)
        output_mean = mean[:, 0] @ kernel.T
        if self._conv.bias is not None:
            output_mean = output_mean + self._conv.bias.double()
        return output_mean, scale
