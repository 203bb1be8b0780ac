"""Checks weights for NaN and infinity when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from asr_backend.checkpoint.files import CheckpointError


def check_finite(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are NaN or infinite.

    Args:
        path: their file, for the message.
        weights: by name.

    Raises:
        CheckpointError: some are NaN or infinite.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not (finite := tensor.isfinite()).all():
            count = tensor.numel() - int(finite.sum())
            raise CheckpointError(
                f"{path}: of the weights {name}, {count} of {tensor.numel()} are NaN or infinite"
            )
