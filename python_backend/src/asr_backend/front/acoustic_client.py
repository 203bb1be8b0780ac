"""Calls of `wav2vec2` from inside a front: one window in, its log-probabilities out.

Triton calls this BLS. Only `async_exec` is used: the blocking `exec` from threads has ended the
whole server at eight concurrent callers.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from asr_backend.audio.format import Samples
from asr_backend.ctc.emissions import Emissions
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.triton_io.errors import Cancelled, UpstreamError
from asr_backend.triton_io.metrics import Metrics

# Words of Triton's that mean "the acoustic model's process is gone or being replaced".
_RESTARTING = ("is not healthy", "has no available versions", "is not ready", "not found")
_STOPPING = "Server not ready"
# What the acoustic model itself answers when its device is lost: its process ends.
_DEVICE_LOST = f"{ErrorCode.ENGINE_RESTARTING.value}: "

FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0
RESTART_PATIENCE_S = 60.0
MAX_DEVICES_LOST = 3
"""Devices that may be lost under one window: it may be the window that fells them."""


class AcousticClient(Protocol):
    """Turns a window into emissions; BlsAcousticClient in the service."""

    async def log_probs(
        self, samples: Samples, is_cancelled: Callable[[], bool], language: str | None
    ) -> Emissions:
        """Float32 [n] at 16 kHz to float32 [frames, vocabulary of the language]."""
        ...


class BlsAcousticClient:
    """Sends windows to the acoustic model and waits out its restarts.

    Args:
        pb_utils: Triton's module, handed in so that this one tests without Triton.
        metrics: counters that Triton exports.
        front: the name of this front's Triton instance.
        patience_s: how long a window waits for a dead acoustic model, in seconds from the first
            answer that says so; what it waited in the queue before does not count.
    """

    def __init__(
        self,
        pb_utils: Any,
        *,
        metrics: Metrics,
        front: str,
        patience_s: float = RESTART_PATIENCE_S,
    ) -> None:
        self._pb_utils = pb_utils
        self._metrics = metrics
        self._front = front
        self._patience_s = patience_s
        self._in_flight = 0
        # A front that was killed left its count behind; its successor has the same name.
        self._count(0)

    async def log_probs(
        self,
        samples: Samples,
        is_cancelled: Callable[[], bool],
        language: str | None = None,
    ) -> Emissions:
        """The log-probabilities of one window.

        Args:
            samples: float32 [n], 16 kHz mono, full scale 1.
            is_cancelled: whether anybody still waits for the answer; asked before each try.
            language: of the adapter to hear it with; None is the checkpoint's own.

        Returns:
            float32 [frames, vocabulary].

        Raises:
            Cancelled: nobody waits any more.
            AsrError: ENGINE_RESTARTING after `patience_s` of a dead acoustic model, or after
                MAX_DEVICES_LOST tries in which the acoustic model lost its device.
            UpstreamError: any other answer of Triton or of the acoustic model.
        """
        died = math.inf
        devices_lost = 0
        backoff_s = FIRST_BACKOFF_S
        while True:
            if is_cancelled():
                raise Cancelled
            try:
                return await self._call(samples, language)
            except UpstreamError as error:
                if error.message.startswith(_DEVICE_LOST):
                    devices_lost += 1
                    if devices_lost == MAX_DEVICES_LOST:
                        raise AsrError(
                            ErrorCode.ENGINE_RESTARTING,
                            f"the acoustic model lost its device in {devices_lost} tries",
                        ) from error
                elif not _is_restarting(error.message):
                    raise
                now = time.monotonic()
                died = min(died, now)
                if (dead_s := now - died) > self._patience_s:
                    raise AsrError(
                        ErrorCode.ENGINE_RESTARTING,
                        f"the acoustic model has not come back within {dead_s:.0f} s; try again",
                    ) from error
            # Scattered, so that a window which kills the model does not meet the same ones again.
            await asyncio.sleep(random.uniform(0.5, 1.0) * backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def _call(self, samples: Samples, language: str | None) -> Emissions:
        request = self._pb_utils.InferenceRequest(
            model_name="wav2vec2",
            requested_output_names=["LOG_PROBS"],
            inputs=[self._pb_utils.Tensor("SAMPLES", samples[np.newaxis])],
            parameters={"language": language} if language else None,
        )
        # Already under way when the gauge is raised: each metric is a message to Triton and back.
        answer = request.async_exec()
        self._count(1)
        try:
            response = await answer
        except self._pb_utils.TritonModelException as error:
            # What Triton refuses before it schedules anything (no such model, stopping) arrives
            # as an exception without a status.
            raise UpstreamError(str(error), self._pb_utils.TritonError.UNAVAILABLE) from error
        finally:
            self._count(-1)
        if response.has_error():
            message, status = response.error().message(), response.error().code()
            # Triton calls INTERNAL what a stopping server refuses to a model inside it.
            if _STOPPING in message:
                status = self._pb_utils.TritonError.UNAVAILABLE
            raise UpstreamError(message, status)
        tensor = self._pb_utils.get_output_tensor_by_name(response, "LOG_PROBS")
        emissions: Emissions = tensor.as_numpy()[0]
        return emissions

    def _count(self, more: int) -> None:
        """Say how many windows are in flight now.

        Not how many more: a front that is replaced while it works has the name, and so the value,
        of its successor, and would take off what that never put on.
        """
        self._in_flight += more
        self._metrics.set("asr_windows_in_flight", self._in_flight, front=self._front)


def _is_restarting(message: str) -> bool:
    return _STOPPING not in message and any(words in message for words in _RESTARTING)
