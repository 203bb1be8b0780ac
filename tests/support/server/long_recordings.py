"""Long files made of the recordings in tests/data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tests.support import recordings
from tests.support.backend.files import encode


def long_recording(seconds: float) -> tuple[bytes, list[npt.NDArray[np.int16]]]:
    """A FLAC file of utterances with pauses, of at most so many seconds, and the utterances."""
    utterances: list[npt.NDArray[np.int16]] = []
    left = round(seconds * recordings.RATE_HZ)
    for clip in recordings.clips(round(seconds), seed=7, pause_s=0.6):
        if len(clip) > left:
            break
        utterances.append(clip)
        left -= len(clip)
    pcm = np.concatenate(utterances)
    return encode(pcm, container="flac", codec="flac", rate_hz=recordings.RATE_HZ), utterances
