from __future__ import annotations

import pytest
import torch

from asr_backend.acoustic.engine.first_norm import FirstNorm


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e4])
@pytest.mark.parametrize("lengths", [[15], [400], [16_001, 15, 4_000]])
@pytest.mark.parametrize("bias", [False, True])
def test_mean_and_scale_are_the_group_norm_of_each_clip_alone(
    lengths: list[int], bias: bool, offset: float
) -> None:
    torch.manual_seed(lengths[0])
    conv = torch.nn.Conv1d(1, 6, 10, stride=5, bias=bias).double()
    norm = torch.nn.GroupNorm(6, 6).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        samples = torch.zeros(len(lengths), max(lengths), dtype=torch.float64)
        for clip, length in zip(samples, lengths, strict=True):
            clip[:length] = torch.randn(length) + offset
        frames = torch.tensor([(length - 10) // 5 + 1 for length in lengths])
        padded = frames if len(lengths) > 1 else None
        mean, scale = FirstNorm(conv, norm).mean_and_scale(samples, padded)
        assert mean.shape == scale.shape == (len(lengths), 6)
        assert mean.dtype == scale.dtype == torch.float64
        for index, count in enumerate(frames):
            features = conv(samples[index][None, None])[:, :, :count]
            normal = (features - mean[index, :, None]) * scale[index, :, None]
            torch.testing.assert_close(
                normal + norm.bias[:, None], norm(features), atol=1e-5, rtol=0
            )
