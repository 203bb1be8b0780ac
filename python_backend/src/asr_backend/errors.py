"""The errors that callers get: a code in capitals, a colon, a sentence with the numbers in it.

The codes, and the gRPC status of each, are part of the wire contract, version 1.
"""

from __future__ import annotations

import json
import math
import secrets
from enum import Enum


class ErrorCode(str, Enum):
    """Codes of the wire contract."""

    EMPTY_AUDIO = "EMPTY_AUDIO"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    CORRUPT_AUDIO = "CORRUPT_AUDIO"
    AUDIO_TOO_LONG = "AUDIO_TOO_LONG"
    AUDIO_TOO_LARGE = "AUDIO_TOO_LARGE"
    BAD_SAMPLE_RATE = "BAD_SAMPLE_RATE"
    NON_FINITE_SAMPLES = "NON_FINITE_SAMPLES"
    BAD_SHAPE = "BAD_SHAPE"
    BAD_OPTIONS = "BAD_OPTIONS"
    UNKNOWN_LANGUAGE = "UNKNOWN_LANGUAGE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    ENGINE_RESTARTING = "ENGINE_RESTARTING"
    INTERNAL_ERROR = "INTERNAL_ERROR"


UNAVAILABLE_CODES = frozenset({ErrorCode.OUT_OF_MEMORY, ErrorCode.ENGINE_RESTARTING})


class AsrError(Exception):
    """The failure of one request, which is reported to its caller.

    Args:
        code: from the contract's table.
        detail: a sentence with the numbers in it, without the code.
    """

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code.value}: {self.detail}"


def internal_error() -> AsrError:
    """The error for a defect of the service. The log has the traceback under the error's id."""
    return AsrError(
        ErrorCode.INTERNAL_ERROR,
        f"id {secrets.token_hex(6)}; the server's log has the traceback under this id",
    )


_QUOTED_CHARACTERS = 40


def quoted(value: object) -> str:
    """A caller's value for a message: JSON in ASCII, cut after 40 characters."""
    text = json.dumps(value)
    return text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…"


def rounded_up(seconds: float) -> str:
    """Seconds rounded up to a tenth, so that a length over a limit never reads as the limit."""
    return f"{math.ceil(10 * seconds - 1e-9) / 10:.1f}"
