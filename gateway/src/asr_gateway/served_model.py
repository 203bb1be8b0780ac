"""Which model asr-server serves.

The one place that asks asr-server about itself. Its answers to recordings name the model; a later
`AsyncClient.info()` will name languages, decoders and language model too, and belongs here.
"""

from __future__ import annotations

import asyncio
import time

from asr_client import AsrError, AsyncClient, ModelInfo, RetryPolicy

_RATE_HZ = 16_000
_PROBE = bytes(2 * _RATE_HZ // 10)
"""A tenth of a second of silence, 16 bits a sample."""
PROBE_TIMEOUT_S = 10.0


class ServedModel:
    """The model as the last answer named it.

    Args:
        client: of asr-server.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._info: ModelInfo | None = None
        self._since = 0
        self._lock = asyncio.Lock()

    def saw(self, info: ModelInfo) -> None:
        """Note the model that an answer named."""
        if info != self._info:
            self._info = info
            self._since = int(time.time())

    async def info(self) -> ModelInfo:
        """The served model; asks asr-server with a moment of silence when it is not known yet.

        Raises:
            AsrError: asr-server does not answer.
        """
        async with self._lock:
            if self._info is None:
                answer = await self._client.transcribe(
                    _PROBE,
                    sample_rate=_RATE_HZ,
                    channels=1,
                    encoding="pcm_s16le",
                    timestamps="none",
                    timeout_s=PROBE_TIMEOUT_S,
                    retry=RetryPolicy(max_attempts=1),
                )
                self.saw(answer.model)
            assert self._info is not None
            return self._info

    @property
    def since(self) -> int:
        """When the gateway first saw this model, in seconds since 1970; 0 before that."""
        return self._since

    async def learn(self) -> None:
        """Ask once, early, so that the first request need not; raises nothing."""
        try:
            await self.info()
        except AsrError:
            return
