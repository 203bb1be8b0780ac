"""Which model asr-server serves: the one place that asks asr-server about itself."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time

from asr_client import AsrError, AsyncClient, ModelInfo, RetryPolicy, ServerInfo
from asr_gateway.console import logger
from asr_gateway.openai import languages

MAX_AGE_S = 1.0
"""For so long an answer of asr-server about itself counts."""
INFO_TIMEOUT_S = 2.0
PROBE_TIMEOUT_S = 10.0
_RATE_HZ = 16_000
_PROBE = bytes(2 * _RATE_HZ // 10)
"""A tenth of a second of silence, 16 bits a sample."""


class ServedModel:
    """What asr-server says of itself.

    Args:
        client: of asr-server.
        own_language: the gateway's `--language`.
    """

    def __init__(self, client: AsyncClient, *, own_language: str) -> None:
        self._client = client
        self._own_language = own_language
        self._info: ServerInfo | None = None
        self._failure: AsrError | None = None
        self._asked_s = -math.inf
        self._since = 0
        self._lock = asyncio.Lock()

    def saw(self, model: ModelInfo) -> None:
        """Note the model that an answer named: if it is another one, ask anew."""
        if self._info is not None and _named(self._info) != (
            model.id,
            model.revision,
            model.fingerprint,
        ):
            self._asked_s = -math.inf

    async def info(self) -> ServerInfo:
        """What asr-server serves, at most `MAX_AGE_S` old.

        While asr-server does not answer, what it said last. `model_id` and `model_revision` are
        always there: a server that does not state them names them in an answer to silence.

        Raises:
            AsrError: asr-server does not answer, and never did.
        """
        came_s = time.monotonic()
        async with self._lock:
            # A failure counts for those who waited for it: each waiting for its own, one after the
            # other, would take minutes where the server hangs.
            max_age_s = 0.0 if self._info is None else MAX_AGE_S
            if came_s - self._asked_s >= max_age_s:
                try:
                    self._note(await self._ask())
                except AsrError as error:
                    self._failure = error
                    self._asked_s = time.monotonic()
            if self._info is None:
                assert self._failure is not None
                raise self._failure
            return self._info

    async def fingerprint(self) -> str | None:
        """The present fingerprint: of this moment, never an earlier one; None if there is none."""
        try:
            info = await self._client.info(timeout_s=INFO_TIMEOUT_S)
        except AsrError:
            return None
        return info.fingerprint

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

    async def _ask(self) -> ServerInfo:
        info = await self._client.info(timeout_s=INFO_TIMEOUT_S)
        if info.model_id is not None:
            return info
        if self._info is not None and self._info.fingerprint is None:
            # It was an older server before, too; a recording a second would be too much to ask.
            return self._info
        answer = await self._client.transcribe(
            _PROBE,
            sample_rate=_RATE_HZ,
            channels=1,
            encoding="pcm_s16le",
            timestamps="none",
            timeout_s=PROBE_TIMEOUT_S,
            retry=RetryPolicy(max_attempts=1),
        )
        return dataclasses.replace(
            info, model_id=answer.model.id, model_revision=answer.model.revision
        )

    def _note(self, info: ServerInfo) -> None:
        known = self._info
        if known is None or _named(info)[:2] != _named(known)[:2]:
            self._since = int(time.time())
        if known is None or info.languages != known.languages:
            for line in languages.doubts(self._own_language, info.languages):
                logger.warning("%s", line)
        self._info = info
        self._asked_s = time.monotonic()


def _named(info: ServerInfo) -> tuple[str | None, str | None, str | None]:
    return (info.model_id, info.model_revision, info.fingerprint)
