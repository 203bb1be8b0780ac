"""The answer of one call: sent once, whatever happens to its work, and then counted."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from asr_backend.front.admission import Call
from asr_backend.front.stages import Stages
from asr_backend.triton_io.errors import Cancelled, Failure, failure
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.shared_memory import SharedMemory


class Answers:
    """What the answers of a front share.

    Args:
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
        shared_memory: where answers need room.
    """

    def __init__(self, pb_utils: Any, metrics: Metrics, shared_memory: SharedMemory) -> None:
        self.pb_utils = pb_utils
        self.metrics = metrics
        self.shared_memory = shared_memory

    def to(self, request: Any, call: Call) -> Answer:
        """The answer to a request, to be entered at once."""
        return Answer(self, request.get_response_sender(), call)


class Answer:
    """A context: when it ends, the call is answered with what was given, or with its error.

    Errors of a call, a cancelled task among them, end here. They fail no other call.

    Attributes:
        stages: where the time of the call goes.
        is_cancelled: asks Triton whether the caller has gone; never asked behind the answer.
    """

    def __init__(self, answers: Answers, sender: Any, call: Call) -> None:
        self.stages = Stages()
        self._shared = answers
        self._sender = sender
        self._call = call
        # Held until they are sent. Triton 24.10 drops outputs that the caller did not name without
        # the interpreter's lock: as the last reference, it corrupts memory.
        self._outputs: list[Any] = []
        self._response: Any = None
        self._seconds: dict[str, float] = {}
        self.is_cancelled: Callable[[], bool] = sender.is_cancelled
        call.is_cancelled = self.is_cancelled

    async def give(self, values: Mapping[str, bytes], seconds: Mapping[str, float]) -> None:
        """Give the call's outputs, and make sure that there is room to send them.

        Args:
            values: each output's one element.
            seconds: of each stage, to be counted when the answer is sent.

        Raises:
            AsrError: OUT_OF_MEMORY where there is no room within three seconds.
        """
        self._outputs = [
            self._shared.pb_utils.Tensor(name, np.array([[value]], dtype=object))
            for name, value in values.items()
        ]
        self._seconds = dict(seconds)
        await self._shared.shared_memory.hold(self._outputs, sum(map(len, values.values())))
        self._response = self._shared.pb_utils.InferenceResponse(output_tensors=self._outputs)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        pb_utils = self._shared.pb_utils
        failed: Failure | None = None
        if isinstance(error, asyncio.CancelledError):
            failed = failure(pb_utils, Cancelled())
        elif isinstance(error, Exception):
            failed = failure(pb_utils, error)
        elif error is not None:
            return False
        self._send(failed)
        self._count(failed)
        return True

    def _send(self, failed: Failure | None) -> None:
        pb_utils = self._shared.pb_utils
        response = self._response
        if failed is not None:
            response = pb_utils.InferenceResponse(error=failed.error)
        # A question behind the answer ends tritonserver.
        self._call.is_cancelled = None
        try:
            self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception:
            # The sender is closed all the same: a second response would be refused.
            _log(f"An answer cannot be sent, its caller gets none.\n{traceback.format_exc()}")

    def _count(self, failed: Failure | None) -> None:
        """Count the call, behind its answer: each metric is a message to Triton and back."""
        if failed is not None and failed.log:
            _log(failed.log)
        try:
            if failed is None:
                for stage, value in self._seconds.items():
                    self._shared.metrics.observe("asr_stage_seconds", value, stage=stage)
            elif failed.counter:
                self._shared.metrics.add(failed.counter, 1, **failed.labels)
        except Exception:
            _log(f"A call is not counted in the metrics.\n{traceback.format_exc()}")


def _log(text: str) -> None:
    # Not by Triton's logger: it needs shared memory, and ends the process where there is none left.
    print(text, file=sys.stderr, flush=True)
