"""Typed client of the speech recognition service.

```python
from asr_client import Client

with Client("localhost:8001") as client:
    print(client.transcribe("recording.wav").text)
```
"""

from asr_client._access import TlsConfig
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
)
from asr_client._items import Outcome, Recording
from asr_client._retry import RetryPolicy
from asr_client._types import (
    Audio,
    ChannelTranscript,
    Char,
    ModelInfo,
    ModelStatus,
    ServerStatus,
    Timing,
    Transcript,
    Word,
)
from asr_client._watch import Attempt

__all__ = [
    "AsrError",
    "AsyncClient",
    "Attempt",
    "Audio",
    "AuthenticationError",
    "Cancelled",
    "ChannelTranscript",
    "Char",
    "Client",
    "DeadlineExceeded",
    "EngineRestarting",
    "InvalidAudio",
    "InvalidOptions",
    "InvalidRequest",
    "InvalidResponse",
    "MessageTooLarge",
    "ModelInfo",
    "ModelNotFound",
    "ModelStatus",
    "OutOfMemory",
    "Outcome",
    "Recording",
    "RetryPolicy",
    "ServerBusy",
    "ServerDraining",
    "ServerFault",
    "ServerStatus",
    "ServerUnavailable",
    "Timing",
    "TlsConfig",
    "Transcript",
    "Word",
]
