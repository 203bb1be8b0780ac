"""What a call that failed is answered with, counted as and logged as."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

from asr_backend.errors import AsrError, internal_error
from asr_backend.front.acoustic_client import Cancelled, UpstreamError
from asr_backend.triton_io.values import triton_error


@dataclass(frozen=True, kw_only=True)
class Failure:
    """It has no reference to the exception, whose traceback would keep the audio."""

    error: Any
    """A pb_utils.TritonError."""
    counter: str | None = None
    """The metric that counts it."""
    labels: dict[str, str] = field(default_factory=dict)
    log: str = ""
    """For the server's log: the traceback of a defect of ours."""


def failure(pb_utils: Any, error: BaseException) -> Failure:
    """The failure that an exception is."""
    if isinstance(error, UpstreamError):
        return Failure(error=pb_utils.TritonError(error.message, error.status))
    if isinstance(error, Cancelled):
        return Failure(
            error=pb_utils.TritonError(
                "the caller cancelled, or its deadline passed", pb_utils.TritonError.CANCELLED
            ),
            counter="asr_cancelled_total",
        )
    log = ""
    if not isinstance(error, AsrError):
        cause, error = error, internal_error()
        log = f"{error}\n{''.join(traceback.format_exception(cause))}"
    return Failure(
        error=triton_error(pb_utils, error),
        counter="asr_errors_total",
        labels={"code": error.code.value},
        log=log,
    )
