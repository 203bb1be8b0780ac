"""The call that every client makes, and what each has to get for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support import recordings
from tests.support.server import reference

NAME = "cards-004-five-five.wav"
MODEL = "transcribe"
JUNK = b"no audio file"


def audio() -> bytes:
    """The recording as it is on disk."""
    return (recordings.FOLDER / NAME).read_bytes()


def expected() -> bytes:
    """Its transcript."""
    return reference.text(recordings.samples(NAME)).encode()


def array(value: bytes) -> npt.NDArray[np.object_]:
    """One BYTES value as clients take it, [1, 1]."""
    return np.array([[value]], np.object_)


def tritonclient_inputs(module: Any, recording: bytes) -> list[Any]:
    """Both inputs as tritonclient's own objects.

    Args:
        module: `tritonclient.grpc` or `tritonclient.grpc.aio`.
        recording: AUDIO.
    """
    inputs = []
    for name, value in (("AUDIO", recording), ("OPTIONS", b"{}")):
        inputs.append(module.InferInput(name, [1, 1], "BYTES"))
        inputs[-1].set_data_from_numpy(array(value))
    return inputs
