"""Calls of the model `wav2vec2` from inside a front: one window in, its emissions out.

Triton calls this BLS. Only `async_exec` is used: the blocking `exec`, called from threads, crashed
the whole server at eight concurrent callers.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from asr_backend.audio.format import Samples
from asr_backend.ctc.emissions import Emissions
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.window_budget import WindowBudget
from asr_backend.triton_io.errors import Cancelled, UpstreamError
from asr_backend.triton_io.metrics import Metrics

# Parts of Triton's messages that mean "the acoustic model's process is gone or being replaced".
_RESTARTING = ("is not healthy", "has no available versions", "is not ready", "not found")
_STOPPING = "Server not ready"
# The acoustic model answers so when its device is lost; then its process ends.
_DEVICE_LOST = f"{ErrorCode.ENGINE_RESTARTING.value}: "

FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0
RESTART_PATIENCE_S = 60.0
MAX_DEVICES_LOST = 3
"""Tries of one window that may lose a device: the window itself may be the cause."""


class AcousticClient(Protocol):
    """Turns a window into emissions; the service uses BlsAcousticClient."""

    async def log_probs(
        self, samples: Samples, is_cancelled: Callable[[], bool], language: str | None
    ) -> Emissions:
        """Float32 [n] at 16 kHz to float32 [frames, vocabulary of the language]."""
        ...


class BlsAcousticClient:
    """Sends windows to the acoustic model, and sends them again after its process restarted.

    Args:
        pb_utils: Triton's module, passed in so that tests need no Triton.
        metrics: counters that Triton exports.
        front: the name of this front's Triton instance.
        room: windows that may be at the acoustic model; others wait here, where they can be dropped
            when their callers go. None sends all at once.
        patience_s: how long a window waits for a dead acoustic model, in seconds since the first
            answer that reports it; the time in the queue before does not count.
    """

    def __init__(
        self,
        pb_utils: Any,
        *,
        metrics: Metrics,
        front: str,
        room: WindowBudget | None = None,
        patience_s: float = RESTART_PATIENCE_S,
    ) -> None:
        self._pb_utils = pb_utils
        self._metrics = metrics
        self._front = front
        self._room = room or WindowBudget(sys.maxsize)
        self._patience_s = patience_s
        self._in_flight = 0
        # A front that was killed left its count behind, and its successor has the same name.
        self._count(0)

    async def log_probs(
        self,
        samples: Samples,
        is_cancelled: Callable[[], bool],
        language: str | None = None,
    ) -> Emissions:
        """Get the emissions of one window.

        Args:
            samples: float32 [n], 16 kHz mono, full scale 1.
            is_cancelled: whether the caller has gone; asked before each try, when there is room.
            language: whose adapter to use; None is the checkpoint's default.

        Returns:
            float32 [frames, vocabulary].

        Raises:
            Cancelled: the caller has gone.
            AsrError: ENGINE_RESTARTING after `patience_s` of a dead acoustic model, or after
                MAX_DEVICES_LOST tries in which the acoustic model lost its device.
            UpstreamError: any other answer of Triton or of the acoustic model.
        """
        self._count(1)
        try:
            return await self._try_on(samples, is_cancelled, language)
        finally:
            self._count(-1)

    async def _try_on(
        self, samples: Samples, is_cancelled: Callable[[], bool], language: str | None
    ) -> Emissions:
        died = math.inf
        devices_lost = 0
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                async with self._room.admit(samples.size):
                    if is_cancelled():
                        raise Cancelled
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
            # Random, so that a window which kills the process is not batched with the same ones.
            await asyncio.sleep(random.uniform(0.5, 1.0) * backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def _call(self, samples: Samples, language: str | None) -> Emissions:
        request = self._pb_utils.InferenceRequest(
            model_name="wav2vec2",
            requested_output_names=["LOG_PROBS"],
            inputs=[self._pb_utils.Tensor("SAMPLES", samples[np.newaxis])],
            parameters={"language": language} if language else None,
        )
        try:
            response = await request.async_exec()
        except self._pb_utils.TritonModelException as error:
            # Triton refuses some calls before it schedules them (no such model, stopping). They
            # arrive as an exception without a status.
            raise UpstreamError(str(error), self._pb_utils.TritonError.UNAVAILABLE) from error
        if response.has_error():
            message, status = response.error().message(), response.error().code()
            # A stopping server refuses calls of its own models with INTERNAL.
            if _STOPPING in message:
                status = self._pb_utils.TritonError.UNAVAILABLE
            raise UpstreamError(message, status)
        tensor = self._pb_utils.get_output_tensor_by_name(response, "LOG_PROBS")
        emissions: Emissions = tensor.as_numpy()[0]
        return emissions

    def _count(self, more: int) -> None:
        """Set the gauge of windows in flight, those that wait for room among them.

        The gauge is set, not raised and lowered: a front that is replaced shares its name, and so
        the gauge, with its successor. It would subtract windows that the successor never added.
        """
        self._in_flight += more
        self._metrics.set("asr_windows_in_flight", self._in_flight, front=self._front)


def _is_restarting(message: str) -> bool:
    return _STOPPING not in message and any(words in message for words in _RESTARTING)
