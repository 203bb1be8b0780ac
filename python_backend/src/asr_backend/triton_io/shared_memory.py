"""Reserves room for an answer in the memory that a front shares with Triton.

Triton 24.10 closes a response sender before it looks for that room. A `send` that finds none
raises, and so does every later `send` of the same call: the caller would wait for its whole
deadline. So if room may be short, the outputs are put into shared memory first.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from asr_backend.errors import AsrError, ErrorCode

SHARED_MEMORY = "/dev/shm"
PLENTY_BYTES = 16 * 2**20
"""Free memory that is enough, in addition to the size of the answer. The regions of all processes
grow into the free memory, by at least a mebibyte each."""
FIRST_WAIT_S = 0.05
MAX_WAITS = 6
"""Each wait is twice as long as the one before, 3 s in all. Other calls free their room soon."""
_NOWHERE = "no-model-of-this-name"


def free_bytes() -> int:
    """Free bytes of shared memory, for all processes."""
    status = os.statvfs(SHARED_MEMORY)
    return status.f_bavail * status.f_frsize


class SharedMemory:
    """The shared memory of one front.

    Args:
        pb_utils: Triton's module.
        free: returns the free bytes.
    """

    def __init__(self, pb_utils: Any, free: Callable[[], int] = free_bytes) -> None:
        self._pb_utils = pb_utils
        self._free = free

    async def hold(self, outputs: Sequence[Any], size: int) -> None:
        """Make sure that a response with these tensors can be sent.

        Args:
            outputs: tensors, which keep the room that they get here.
            size: their size in bytes.

        Raises:
            AsrError: OUT_OF_MEMORY if there is no room within three seconds.
        """
        if self._free() > size + PLENTY_BYTES:
            return
        wait_s = FIRST_WAIT_S
        for _ in range(MAX_WAITS):
            if await self._put(outputs):
                return
            await asyncio.sleep(wait_s)
            wait_s *= 2
        if not await self._put(outputs):
            raise AsrError(
                ErrorCode.OUT_OF_MEMORY,
                f"the server's shared memory has no room for an answer of {size} bytes",
            )

    async def _put(self, outputs: Sequence[Any]) -> bool:
        """Put tensors into shared memory. Returns whether there was room."""
        # The only way without side effects is a call of a model that does not exist. Triton first
        # puts its tensors into shared memory, where they keep their place.
        request = self._pb_utils.InferenceRequest(
            model_name=_NOWHERE, requested_output_names=["TEXT"], inputs=list(outputs)
        )
        response = await request.async_exec()
        return "shared memory" not in response.error().message()
