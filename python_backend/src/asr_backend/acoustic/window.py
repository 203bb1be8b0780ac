"""Reads the windows that requests of `wav2vec2` bring, and checks them against the contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.errors import AsrError, ErrorCode, rounded_up
from asr_backend.triton_io.precedence import DEFERRALS, LIVE


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """A request and its samples."""

    request: Any
    samples: npt.NDArray[np.float32]
    """Float32 [samples], at least the receptive field long."""
    language: str | None
    """The language that the request names, None for the checkpoint's own."""
    is_live: bool
    """Whether it is live audio."""
    deferrals: int | None
    """How often it was put off for live audio; None if it does not yield to live audio."""


def read_window(
    pb_utils: Any, request: Any, checkpoint: Checkpoint, *, max_window_s: float
) -> Window:
    """The window of a request.

    Raises:
        AsrError: BAD_SHAPE, EMPTY_AUDIO, AUDIO_TOO_LONG, NON_FINITE_SAMPLES or UNKNOWN_LANGUAGE.
    """
    parameters = json.loads(request.parameters() or "{}")
    given = parameters.get("language")
    language = checkpoint.in_language(str(given) if given else None).language
    samples = pb_utils.get_input_tensor_by_name(request, "SAMPLES").as_numpy()
    deferrals = parameters.get(DEFERRALS)
    return Window(
        request=request,
        samples=_checked(samples, checkpoint.receptive_field_samples, max_window_s),
        language=language,
        is_live=parameters.get(LIVE) is True,
        deferrals=deferrals if isinstance(deferrals, int) else None,
    )


def _checked(
    samples: npt.NDArray[np.float32], receptive_field: int, max_window_s: float
) -> npt.NDArray[np.float32]:
    if samples.ndim != 2 or samples.shape[0] != 1:
        raise AsrError(
            ErrorCode.BAD_SHAPE,
            f"SAMPLES has shape {list(samples.shape)}, it must be [1, samples]: one window a "
            "request; the server batches requests itself",
        )
    samples = samples[0]
    if samples.size == 0:
        raise AsrError(ErrorCode.EMPTY_AUDIO, "0 samples")
    if samples.size > max_window_s * SAMPLE_RATE_HZ:
        raise AsrError(
            ErrorCode.AUDIO_TOO_LONG,
            f"{rounded_up(samples.size / SAMPLE_RATE_HZ)} s, the limit of one window is "
            f"{max_window_s:g} s",
        )
    finite = np.isfinite(samples)
    if not finite.all():
        raise AsrError(
            ErrorCode.NON_FINITE_SAMPLES,
            f"{samples.size - np.count_nonzero(finite)} of {samples.size} samples are NaN or "
            f"infinite, the first at {finite.argmin()}",
        )
    short = receptive_field - samples.size
    return np.pad(samples, (0, short)) if short > 0 else samples
