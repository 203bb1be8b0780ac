"""Failures of a server, with the messages of the real one."""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """A failure for `FakeServer.fail`: the gRPC status and the message of the server."""

    EMPTY_AUDIO = ("INVALID_ARGUMENT", "EMPTY_AUDIO: AUDIO has 0 bytes")
    UNSUPPORTED_FORMAT = ("INVALID_ARGUMENT", "UNSUPPORTED_FORMAT: no known audio format")
    CORRUPT_AUDIO = ("INVALID_ARGUMENT", "CORRUPT_AUDIO: decoding failed after 1.2 s")
    AUDIO_TOO_LONG = ("INVALID_ARGUMENT", "AUDIO_TOO_LONG: 7300.2 s, the limit is 7200 s")
    AUDIO_TOO_LARGE = (
        "INVALID_ARGUMENT",
        "AUDIO_TOO_LARGE: 268435457 bytes, the limit is 268435456",
    )
    BAD_SAMPLE_RATE = ("INVALID_ARGUMENT", "BAD_SAMPLE_RATE: 1 Hz")
    NON_FINITE_SAMPLES = ("INVALID_ARGUMENT", "NON_FINITE_SAMPLES: sample 7 is nan")
    BAD_SHAPE = ("INVALID_ARGUMENT", "BAD_SHAPE: the batch dimension is 2, only 1 is possible")
    BAD_OPTIONS = ("INVALID_ARGUMENT", 'BAD_OPTIONS: unknown key "foo"')
    UNKNOWN_LANGUAGE = ("INVALID_ARGUMENT", 'UNKNOWN_LANGUAGE: "tlh"')
    BAD_TENSOR = (
        "INVALID_ARGUMENT",
        "inference input 'AUDIO' data-type is 'FP32', but model 'transcribe' expects 'BYTES'",
    )
    QUEUE_FULL = ("UNAVAILABLE", "Exceeds maximum queue size")
    QUEUE_TIMEOUT = ("UNAVAILABLE", "Request timeout expired")
    CONNECTION_LOST = ("UNAVAILABLE", "Socket closed")
    STOPPING = ("UNAVAILABLE", "Server not ready")
    DRAINING = ("NOT_FOUND", "Request for unknown model: 'transcribe' has no available versions")
    UNKNOWN_MODEL = ("NOT_FOUND", "Request for unknown model: 'transcribe' is not found")
    RESTRICTED = (
        "UNAVAILABLE",
        "This protocol is restricted, expecting header 'triton-grpc-protocol-token'",
    )
    OUT_OF_MEMORY = ("UNAVAILABLE", "OUT_OF_MEMORY: one window of 20 s does not fit")
    ENGINE_RESTARTING = ("UNAVAILABLE", "ENGINE_RESTARTING: no answer within 60 s")
    DEAD_FRONT = (
        "INTERNAL",
        "Failed to process the request(s) for model 'transcribe_0_0', message: "
        "Stub process 'transcribe_0_0' is not healthy.",
    )
    INTERNAL_ERROR = ("INTERNAL", "INTERNAL_ERROR: id 0123456789ab")
    MESSAGE_TOO_LARGE = ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 8)")
    CANCELLED = ("CANCELLED", "CANCELLED: the request was cancelled")
    NO_OUTPUTS = ("OK", "")
    """Status OK without output tensors, a possible answer of Triton's response cache."""

    @property
    def status(self) -> str:
        """The gRPC status, such as `"UNAVAILABLE"`."""
        return self.value[0]

    @property
    def message(self) -> str:
        """The message of the server."""
        return self.value[1]
