"""Typed client of the speech recognition service.

```python
from asr_client import Client

with Client("localhost:8001") as client:
    print(client.transcribe("recording.wav").text)
```
"""

from asr_client._async_client import AsyncClient
from asr_client._client import Client
from asr_client._errors import (
    AsrError,
    AuthenticationError,
    Cancelled,
    DeadlineExceeded,
    EngineRestarting,
    InvalidAudio,
    InvalidOptions,
    InvalidRequest,
    InvalidResponse,
    MessageTooLarge,
    ModelNotFound,
    OutOfMemory,
    ServerBusy,
    ServerDraining,
    ServerFault,
    ServerUnavailable,
    StreamBehind,
    StreamLost,
)
from asr_client._recording import Item, Outcome, Recording
from asr_client._stream.async_live import AsyncLiveStream
from asr_client._stream.events import (
    Interim,
    InterimWord,
    LiveTranscript,
    Segment,
    Skipped,
    StreamEvent,
)
from asr_client._stream.live import LiveStream
from asr_client._stream.paced import Paced, paced
from asr_client._subtitles import Cue, as_srt, as_vtt, cues
from asr_client._telemetry import Attempt, OnAttempt
from asr_client._tls import Pem, TlsConfig
from asr_client._transport.retry import RetryPolicy
from asr_client._types import (
    Audio,
    AudioWarning,
    Channel,
    ChannelTranscript,
    Char,
    Chunk,
    Compression,
    Decoder,
    Encoding,
    ModelInfo,
    ModelStatus,
    ReadableFile,
    Samples,
    ServerHealth,
    ServerInfo,
    ServerState,
    ServerStatus,
    Timestamps,
    Timing,
    Transcript,
    Word,
)

__all__ = [
    "AsrError",
    "AsyncClient",
    "AsyncLiveStream",
    "Attempt",
    "Audio",
    "AudioWarning",
    "AuthenticationError",
    "Cancelled",
    "Channel",
    "ChannelTranscript",
    "Char",
    "Chunk",
    "Client",
    "Compression",
    "Cue",
    "DeadlineExceeded",
    "Decoder",
    "Encoding",
    "EngineRestarting",
    "Interim",
    "InterimWord",
    "InvalidAudio",
    "InvalidOptions",
    "InvalidRequest",
    "InvalidResponse",
    "Item",
    "LiveStream",
    "LiveTranscript",
    "MessageTooLarge",
    "ModelInfo",
    "ModelNotFound",
    "ModelStatus",
    "OnAttempt",
    "OutOfMemory",
    "Outcome",
    "Paced",
    "Pem",
    "ReadableFile",
    "Recording",
    "RetryPolicy",
    "Samples",
    "Segment",
    "ServerBusy",
    "ServerDraining",
    "ServerFault",
    "ServerHealth",
    "ServerInfo",
    "ServerState",
    "ServerStatus",
    "ServerUnavailable",
    "Skipped",
    "StreamBehind",
    "StreamEvent",
    "StreamLost",
    "Timestamps",
    "Timing",
    "TlsConfig",
    "Transcript",
    "Word",
    "as_srt",
    "as_vtt",
    "cues",
    "paced",
]
