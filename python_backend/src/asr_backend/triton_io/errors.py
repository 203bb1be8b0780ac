"""Converts errors to Triton's, and back."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

from asr_backend.errors import UNAVAILABLE_CODES, AsrError, ErrorCode, internal_error


class UpstreamError(Exception):
    """An error of Triton's that is passed on unchanged.

    Args:
        message: Triton's message.
        status: its status, a constant of pb_utils.TritonError.
    """

    def __init__(self, message: str, status: Any) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Cancelled(Exception):
    """The caller has gone, or its deadline has passed."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a failed call is answered, counted and logged.

    It has no reference to the exception, whose traceback would keep the audio in memory.
    """

    error: Any
    """A pb_utils.TritonError."""
    counter: str | None = None
    """The metric that counts it."""
    labels: dict[str, str] = field(default_factory=dict)
    outcome: str = "UPSTREAM"
    """The code of the error, `CANCELLED`, or `UPSTREAM` for an error of Triton's."""
    log: str = ""
    """Text for the server's log: the traceback of a defect of the service."""


def failure(pb_utils: Any, error: BaseException) -> Failure:
    """The failure for an exception."""
    if isinstance(error, UpstreamError):
        return Failure(error=pb_utils.TritonError(error.message, error.status))
    if isinstance(error, Cancelled):
        return Failure(
            error=pb_utils.TritonError(
                "the caller cancelled, or its deadline passed", pb_utils.TritonError.CANCELLED
            ),
            counter="asr_cancelled_total",
            outcome="CANCELLED",
        )
    log = ""
    if not isinstance(error, AsrError):
        cause, error = error, internal_error()
        log = f"{error}\n{''.join(traceback.format_exception(cause))}"
    return Failure(
        error=triton_error(pb_utils, error),
        counter="asr_errors_total",
        labels={"code": error.code.value},
        outcome=error.code.value,
        log=log,
    )


def triton_error(pb_utils: Any, error: AsrError) -> Any:
    """The pb_utils.TritonError with the gRPC status that the contract gives the error's code."""
    if error.code in UNAVAILABLE_CODES:
        status = pb_utils.TritonError.UNAVAILABLE
    elif error.code is ErrorCode.INTERNAL_ERROR:
        status = pb_utils.TritonError.INTERNAL
    else:
        status = pb_utils.TritonError.INVALID_ARG
    return pb_utils.TritonError(str(error), status)
