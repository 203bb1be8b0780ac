from __future__ import annotations

import numpy as np
import pytest
import torch

from asr_backend.acoustic.engine.first_norm import FirstNorm


@pytest.mark.parametrize("length", [15, 400, 16_001])
@pytest.mark.parametrize("bias", [False, True])
def test_scale_and_shift_are_the_group_norm(length: int, bias: bool) -> None:
    torch.manual_seed(length)
    conv = torch.nn.Conv1d(1, 6, 10, stride=5, bias=bias)
    norm = torch.nn.GroupNorm(6, 6)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        samples = torch.randn(length) + 3
        features = conv(samples[None, None])
        expected = norm(features).numpy()
    scale, shift = FirstNorm(conv, norm).scale_and_shift(samples.numpy())
    assert scale.shape == shift.shape == (1, 6, 1)
    assert scale.dtype == shift.dtype == np.float32
    np.testing.assert_allclose(features.numpy() * scale + shift, expected, atol=1e-4)
