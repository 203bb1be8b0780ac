"""What a failed attempt's gRPC status and words mean. Pure functions and their tables."""

from __future__ import annotations

import re

from asr_client import _errors
from asr_client._errors import AsrError

_CODE = re.compile(r"(?:\[request id: [^\]]*\] )?([A-Z][A-Z0-9_]+): ")

_KIND_OF_CODE: dict[str, type[AsrError]] = {
    "EMPTY_AUDIO": _errors.InvalidAudio,
    "UNSUPPORTED_FORMAT": _errors.InvalidAudio,
    "CORRUPT_AUDIO": _errors.InvalidAudio,
    "AUDIO_TOO_LONG": _errors.InvalidAudio,
    "AUDIO_TOO_LARGE": _errors.InvalidAudio,
    "BAD_SAMPLE_RATE": _errors.InvalidAudio,
    "NON_FINITE_SAMPLES": _errors.InvalidAudio,
    "BAD_SHAPE": _errors.InvalidRequest,
    "BAD_OPTIONS": _errors.InvalidOptions,
    "UNKNOWN_LANGUAGE": _errors.InvalidOptions,
    "OUT_OF_MEMORY": _errors.OutOfMemory,
    "ENGINE_RESTARTING": _errors.EngineRestarting,
    "INTERNAL_ERROR": _errors.ServerFault,
}

# Triton's words decide only where one status means several things.
_KIND_OF_WORDS: tuple[tuple[str, str, type[AsrError]], ...] = (
    ("UNAVAILABLE", "This protocol is restricted", _errors.AuthenticationError),
    ("UNAVAILABLE", "Exceeds maximum queue size", _errors.ServerBusy),
    ("UNAVAILABLE", "Request timeout expired", _errors.ServerBusy),
    ("UNAVAILABLE", "Server not ready", _errors.ServerDraining),
    ("INTERNAL", "Server not ready", _errors.ServerDraining),
    ("INTERNAL", "is not healthy", _errors.EngineRestarting),
    ("NOT_FOUND", "has no available versions", _errors.ServerDraining),
    ("RESOURCE_EXHAUSTED", "larger than max", _errors.MessageTooLarge),
)

_KIND_OF_STATUS: dict[str, type[AsrError]] = {
    "INVALID_ARGUMENT": _errors.InvalidRequest,
    "UNAVAILABLE": _errors.ServerUnavailable,
    "NOT_FOUND": _errors.ModelNotFound,
    "UNAUTHENTICATED": _errors.AuthenticationError,
    "PERMISSION_DENIED": _errors.AuthenticationError,
    "DEADLINE_EXCEEDED": _errors.DeadlineExceeded,
    "CANCELLED": _errors.Cancelled,
}


def classify(status: str, words: str) -> tuple[type[AsrError], str | None]:
    """The error class and the contract's code of a failed call."""
    match = _CODE.match(words)
    code = match.group(1) if match else None
    if code in _KIND_OF_CODE:
        return _KIND_OF_CODE[code], code
    for at_status, phrase, kind in _KIND_OF_WORDS:
        if status == at_status and phrase in words:
            return kind, code
    return _KIND_OF_STATUS.get(status, _errors.ServerFault), code


# gRPC has one status for these and for requests that were lost on their way.
_NEVER_SENT = (
    "failed to connect to",
    "Failed to connect to remote host",
    "errors resolving ",
    "DNS resolution failed",
)

# The rest of what was never sent is a wrong name, or a handshake that fails again and again.
_MAY_COME_BACK = ("Connection refused", "timed out", "Timeout occurred")

AT_ONCE_ELSEWHERE = (_errors.ServerUnavailable, _errors.ServerDraining, _errors.OutOfMemory)
"""Exactly these: one server's trouble, which another one need not have."""


def never_sent(status: str, words: str) -> bool:
    """Say whether a failed request cannot have reached any server."""
    return status == "UNAVAILABLE" and any(phrase in words for phrase in _NEVER_SENT)


def may_come_back(status: str, words: str) -> bool:
    """Say whether a server that could not be reached may be one that is starting again."""
    return never_sent(status, words) and any(phrase in words for phrase in _MAY_COME_BACK)


def expired_in_queue(status: str, words: str) -> bool:
    """Say whether Triton dropped the request because its time was over: no model took it up."""
    return status == "UNAVAILABLE" and "Request timeout expired" in words


def concerns_the_request(kind: type[AsrError]) -> bool:
    """Say whether every server would answer so: waiting for another one is in vain."""
    return issubclass(kind, _ON_THE_REQUEST)


_ON_THE_REQUEST = (_errors.InvalidRequest, _errors.MessageTooLarge, _errors.AuthenticationError)

_OF_THE_MODEL = (_errors.InvalidRequest, _errors.ServerFault, _errors.OutOfMemory)
"""Errors that a process of the model gives. Triton refuses, drops and forwards without one."""


def answered_by_the_model(kind: type[AsrError], code: str | None) -> bool:
    """Say whether an error shows that the model of the server makes progress."""
    return code is not None and issubclass(kind, _OF_THE_MODEL)
