"""Log-mel frames on the grid of Wav2Vec2's convolutions: 25 ms windows every 20 ms, no padding."""

from __future__ import annotations

import numpy as np
import torch

from tools.demo_checkpoint.pcm import RATE_HZ

BINS = 48
WINDOW, HOP, FFT = 400, 320, 512
FLOOR = 1e-4
"""Power below which a bin says nothing; 1 is a bin of white noise of unit variance."""


def filterbank(warp: float = 1.0) -> torch.Tensor:
    """Triangular filters [FFT // 2 + 1, BINS] from 60 to 7600 Hz, all edges scaled by `warp`.

    A warp of 0.85 to 1.18 stands for another length of the vocal tract.
    """
    mel = np.linspace(*(2595 * np.log10(1 + np.array([60.0, 7600.0]) / 700)), BINS + 2)
    edges = np.minimum(700 * (10 ** (mel / 2595) - 1) * warp, RATE_HZ / 2 - 1)
    hertz = np.arange(FFT // 2 + 1)[:, None] * RATE_HZ / FFT
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    width = RATE_HZ / FFT
    up = (hertz - left) / np.maximum(centre - left, width)
    down = (right - hertz) / np.maximum(right - centre, width)
    bank = np.maximum(0, np.minimum(up, down))
    bank /= np.maximum(bank.sum(axis=0, keepdims=True), 1e-6)
    return torch.tensor(bank, dtype=torch.float32)


def log_mel(samples: torch.Tensor, banks: torch.Tensor) -> torch.Tensor:
    """Frames [batch, frames, BINS] of samples [batch, n], each clip with its filters.

    `banks` is [FFT // 2 + 1, BINS] or [batch, FFT // 2 + 1, BINS]. Values lie around 0 with a
    deviation of about 1.
    """
    frames = samples.unfold(1, WINDOW, HOP) * torch.hann_window(WINDOW)
    power = torch.fft.rfft(frames, FFT).abs().square() / (WINDOW * 0.375)
    return ((power @ banks).clamp_min(FLOOR).log() + 4.0) / 3.0
