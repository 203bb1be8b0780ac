"""The errors of a call.

```
AsrError
├── InvalidRequest            the server refuses the request; another attempt cannot succeed
│   ├── InvalidAudio          EMPTY_AUDIO, UNSUPPORTED_FORMAT, CORRUPT_AUDIO, AUDIO_TOO_LONG,
│   │                         AUDIO_TOO_LARGE, BAD_SAMPLE_RATE, NON_FINITE_SAMPLES
│   └── InvalidOptions        BAD_OPTIONS, UNKNOWN_LANGUAGE
├── MessageTooLarge           request or answer exceeds a gRPC message limit
├── AuthenticationError       no token, or the wrong one
├── ModelNotFound             the server has no such model
├── ServerUnavailable         no server could take the request
│   ├── ServerBusy            its queue is full, or the request waited in it too long
│   ├── ServerDraining        it is stopping
│   ├── EngineRestarting      a process of its models died and is being replaced
│   └── OutOfMemory           its accelerator has no memory left for this request
├── ServerFault               a defect of the server, or another kind of server
├── InvalidResponse           the answer breaks the contract
├── DeadlineExceeded          `timeout_s` is over (also a TimeoutError)
├── StreamBehind              a live stream's audio comes faster than the server answers
├── StreamLost                the last look of a live stream was tried in vain
└── Cancelled                 the client was closed, or the server ended the call
```

Wrong arguments are `TypeError` and `ValueError`, an unreadable file is `OSError`, and a closed
client is `RuntimeError`; the client sends nothing then.
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar


class AsrError(Exception):
    """A call to the service failed.

    The message is a constant of the class or the code, so that errors can be grouped by it. The
    attributes hold the details; from Python 3.11 on, tracebacks show them as a note.
    """

    default_message: ClassVar[str] = "the call failed"

    code: str | None
    """The contract's code, such as `"AUDIO_TOO_LONG"`; None when the message is Triton's own."""
    status: str
    """The gRPC status, such as `"INVALID_ARGUMENT"`."""
    server_message: str
    """The message of the server, or of gRPC."""
    attempts: int
    """How many times the request was sent."""
    elapsed_s: float
    """Seconds from the start of the call to this error."""
    address: str
    """The address of the server."""
    request_id: str
    """The id of the request in the server's log."""

    def __init__(
        self,
        *,
        status: str,
        server_message: str = "",
        code: str | None = None,
        attempts: int = 0,
        elapsed_s: float = 0.0,
        address: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(MESSAGES.get(code or "", self.default_message))
        self.code = code
        self.status = status
        self.server_message = server_message
        self.attempts = attempts
        self.elapsed_s = elapsed_s
        self.address = address
        self.request_id = request_id
        if sys.version_info >= (3, 11):
            self.add_note(
                f"{status} from {address} in attempt {attempts} after {elapsed_s:.3f} s, "
                f"request {request_id or '-'}: {server_message}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), _fields(self))


class InvalidRequest(AsrError):
    """The server refuses the request; the same request can never succeed."""

    default_message = "the server refused the request"


class InvalidAudio(InvalidRequest):
    """The server refuses the audio; `code` has the reason."""

    default_message = "the server refused the audio"


class InvalidOptions(InvalidRequest):
    """The server refuses the options; `server_message` names the key and its range."""

    default_message = "the server refused the options"


class MessageTooLarge(AsrError):
    """The request or its answer exceeds a gRPC message limit."""

    default_message = "the message exceeds a gRPC limit"


class AuthenticationError(AsrError):
    """The server requires a token, or another one."""

    default_message = "the server refused the caller"


class ModelNotFound(AsrError):
    """The server has no such model: it is another service, or is not set up."""

    default_message = "the server has no such model"


class ServerUnavailable(AsrError):
    """No server could take the request; the same request may succeed later."""

    default_message = "the server is unavailable"


class ServerBusy(ServerUnavailable):
    """The server's queue is full, or the request waited in it too long."""

    default_message = "the server is busy"


class ServerDraining(ServerUnavailable):
    """The server is stopping and takes no new requests."""

    default_message = "the server is stopping"


class EngineRestarting(ServerUnavailable):
    """A process of the server's models died; the server is replacing it."""

    default_message = "a model of the server is restarting"


class OutOfMemory(ServerUnavailable):
    """The server's accelerator has no memory left for this request."""

    default_message = "the server is out of memory"


class ServerFault(AsrError):
    """A defect of the server, or an answer of another kind of server."""

    default_message = "the server failed"


class InvalidResponse(AsrError):
    """The answer of the server breaks the contract."""

    default_message = "the server's answer is not valid"


class DeadlineExceeded(AsrError, TimeoutError):
    """The time limit is over; `__cause__` is the error of the last failed attempt, if any."""

    default_message = "the call did not end within its timeout"


class Cancelled(AsrError):
    """The client was closed during the call, or the server ended it."""

    default_message = "the call was cancelled"


class StreamBehind(AsrError):
    """A live stream has more than `max_behind_s` of audio that no look has reached.

    The chunk was not taken. The stream goes on: it may be fed again later.
    """

    default_message = "the live stream is too far behind its audio"


class StreamLost(AsrError):
    """The look that ends or flushes a live stream was tried in vain; `__cause__` is its error.

    `client.stream(resume=lost)` goes on with the audio that is not final.
    """

    default_message = "the end of the live stream could not be recognised"

    audio: bytes
    """The PCM that is not final; the last frame may be cut off."""
    state: str | None
    """The state of the last look that was answered."""
    first_frame: int
    """The first frame of `audio`, from the start of the stream."""
    sample_rate: int
    """In Hz."""
    channels: int
    encoding: str

    def __init__(
        self,
        *,
        audio: bytes = b"",
        state: str | None = None,
        first_frame: int = 0,
        sample_rate: int = 16_000,
        channels: int = 1,
        encoding: str = "pcm_s16le",
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        self.audio = audio
        self.state = state
        self.first_frame = first_frame
        self.sample_rate = sample_rate
        self.channels = channels
        self.encoding = encoding


MESSAGES = {
    "EMPTY_AUDIO": "the audio is empty",
    "UNSUPPORTED_FORMAT": "the audio format is not supported",
    "CORRUPT_AUDIO": "the audio is damaged",
    "AUDIO_TOO_LONG": "the audio is longer than the server allows",
    "AUDIO_TOO_LARGE": "the audio has more bytes than the server allows",
    "BAD_SAMPLE_RATE": "the sample rate is not supported",
    "NON_FINITE_SAMPLES": "the audio has samples that are NaN or infinite",
    "UNKNOWN_LANGUAGE": "the server does not know the language",
}


def _fields(error: AsrError) -> dict[str, Any]:
    names = {**AsrError.__annotations__, **vars(type(error)).get("__annotations__", {})}
    return {name: getattr(error, name) for name in names if name in vars(error)}


def _rebuild(kind: type[AsrError], fields: dict[str, Any]) -> AsrError:
    return kind(**fields)
